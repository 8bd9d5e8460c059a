"""Two models, or two studies, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxfi.engine.installed import check
from onnxfi.errors import StudyError
from onnxfi.parity.settings import Asking, Watch
from onnxfi.study.list_settings import Meet
from onnxfi.study.settings import Data, Machine, Plan, Precision, Target
from onnxfi.vigor.settings import Sampling

if TYPE_CHECKING:
    from onnxfi.parity.run import Found

RUNS = Path("onnxfi-run")


@dataclass(frozen=True)
class Parity:
    """What `parity` found: `found`, the object of parity.json; the trials themselves in `result` (None where studies
    were compared that had been run before); and the folder of its files, if there is one."""

    found: dict[str, Any]
    result: Found | None
    folder: Path | None

    def to_json(self) -> str:
        """`found` as the file holds it."""
        from onnxfi.report.parity import to_json

        return to_json(self.found)


def parity(
    a: Path | str | None = None,
    b: Path | str | None = None,
    *,
    data: Data | None = None,
    data_b: Data | None = None,
    target: Target | None = None,
    plan: Plan | None = None,
    precision: Precision | None = None,
    machine: Machine | None = None,
    output_b: str | None = None,
    faults: Path | str | None = None,
    meet: Meet | None = None,
    sampling: Sampling | None = None,
    groups: Path | str | None = None,
    out: Path | str | None = None,
    progress: Watch | None = None,
) -> Parity:
    """Find out whether two ONNX files are one network, and whether they fail alike under the same faults.

    Layers are matched by the values of their weights; faults are drawn in `a` and repeated in `b`, on the same images.

    a, b       the two files; None: the bundled model and its Keras twin
    data       images, as `a` wants them; `data_b`: as `b` does, where that differs
    target     which faults of `a`; None: weights
    plan, precision, machine, groups  as in `analyze`
    output_b   the output of `b` to look at; that of `a` is in `target`
    faults     a fault list, whose rows are repeated in both in the place of drawn faults; `meet`: how it is read
    sampling   DeepVigor+ of both, too, so much of it
    out        the folder. None: one under ./onnxfi-run. Where it holds this very comparison, it goes on from there
    progress   who is told how far it is

    Raises an OnnxfiError whose message is one sentence. After KeyboardInterrupt, or whatever else stops it, the same
    call goes on.
    """
    check()
    from onnxfi.bundled.stand_in import stand_in, twins
    from onnxfi.metrics.safety import load_groups
    from onnxfi.parity.run import A, B, run
    from onnxfi.report import parity_files
    from onnxfi.report.parity import facts
    from onnxfi.report.tell import tell
    from onnxfi.study.labels import arranged

    if a is None and b is None:
        (a, b), (_, data) = twins(), stand_in(None, data or Data())
    elif a is None or b is None:
        raise StudyError("Parity is between two models: give both, or none for the bundled pair.")
    data = data or Data()
    asking = Asking(
        Path(a),
        Path(b),
        data,
        data_b or data,
        target or Target(kind="weights"),
        plan or Plan(),
        precision or Precision(),
        machine or Machine(),
        output_b,
        None if faults is None else Path(faults),
        meet or Meet(),
        sampling,
    )
    folder = Path(out) if out is not None else RUNS / f"parity-{asking.a.stem}-{asking.b.stem}-{asking.id}"
    grouping = None if groups is None else arranged(load_groups(str(groups)), data)
    done = run(asking, folder, progress)
    found = facts(done, grouping)
    parity_files.write(folder, found, done.listed)
    if done.compared:
        for name, finding in ((A, done.compared.a), (B, done.compared.b)):
            tell(finding, folder / name, None, grouping)
    return Parity(found, done, folder)


def compare_studies(
    a: Path | str,
    b: Path | str,
    *,
    models: tuple[Path | str, Path | str] | None = None,
    groups: Path | str | None = None,
    out: Path | str | None = None,
) -> Parity:
    """Compare the studies in two folders that `analyze` or `parity` wrote: every rate of both, and the difference.

    models  the two files: layers are matched by the values of their weights; None: by name, or as `parity` matched them
    groups  as in `analyze`
    out     a folder for the files that `parity` writes, too; None: none

    Where one study repeats the other's trials, differences are paired. Raises StudyError for a folder without a study,
    or studies that have no layer in common.
    """
    check()
    from onnxfi.metrics.safety import load_groups
    from onnxfi.parity.compare import compare
    from onnxfi.parity.twins import same_layers
    from onnxfi.report import parity_files
    from onnxfi.report.parity import compared

    pairs = None if models is None else same_layers(Path(models[0]), Path(models[1]))
    grouping = None if groups is None else load_groups(str(groups))
    found = compared(compare(Path(a), Path(b), pairs), grouping)
    folder = None if out is None else Path(out)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        parity_files.write(folder, found)
    return Parity(found, None, folder)
