"""What the benchmarks share: the network and images they run on, CPU clocks read in turn, and plain tables."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import process_time

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))  # `models` and `converters` stand outside the wheel

from onnxfi.bundled import data_path, model_path  # noqa: E402
from onnxfi.study.assembly import Asked, Assembly, assemble  # noqa: E402
from onnxfi.study.settings import Data, Machine, Plan, Precision, Target  # noqa: E402

CHECKPOINT = "weights/cifar10_resnet20-12fca82f.th"
IMAGES = "images/cifar10_test_0000-1999.npz"


def shared(argument: Path | None) -> Path | None:
    """The folder of real weights and images: the argument, else what ONNXFI_SHARED_DATA names, else none."""
    named = os.environ.get("ONNXFI_SHARED_DATA")
    return argument or (Path(named) if named else None)


def resnet20(data: Path, folder: Path) -> Path:
    """The real CIFAR-10 ResNet-20, exported into `folder` by the project's own converter (needs torch)."""
    path = folder / "resnet20.onnx"
    words = [
        "-m",
        "converters",
        "pytorch",
        "--arch",
        "resnet20",
        "--checkpoint",
        str(data / CHECKPOINT),
        "-o",
        str(path),
    ]
    subprocess.run([sys.executable, *words], check=True, cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    return path


def assembled(
    data: Path | None, model: Path | None, folder: Path, target: Target, images: int, machine: Machine
) -> Assembly:
    """The study's network, images and fault space: ResNet-20 and CIFAR-10 from `data`, or the bundled model."""
    if data is None:
        model, paths = model or model_path(), (data_path(),)
    else:
        model, paths = model or resnet20(data, folder), (data / IMAGES,)
    asked = Asked(target, Data(paths, images=images), Plan(), Precision(), machine)
    return assemble(model, asked, 1)


def in_turn(contestants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """CPU seconds of this process for one call of each, the median of `rounds`: A B C, A B C, ... so that what
    disturbs the machine disturbs all of them. Each is called once before, unmeasured."""
    for call in contestants.values():
        call()
    spent: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, call in contestants.items():
            start = process_time()
            call()
            spent[name].append(process_time() - start)
    return {name: statistics.median(seconds) for name, seconds in spent.items()}


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under a header, columns aligned."""
    texts = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in texts) for i in range(len(header))]
    for row in texts:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        print("  ".join(cells))
