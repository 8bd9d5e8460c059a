"""Trials a second next to PyTorchFI: the same ResNet-20, images and weight faults.

In an environment of its own:

    python -m venv /tmp/pfi-venv
    /tmp/pfi-venv/bin/pip install 'torch==2.13.0'
    /tmp/pfi-venv/bin/pip install -e '.[pytorch]'
    /tmp/pfi-venv/bin/pip install --no-deps 'pytorchfi==0.6.0'
    /tmp/pfi-venv/bin/python tests/benchmarks/against_pytorchfi.py --shared DIR

(PyTorchFI imports nothing but torch for this; its other requirements are for its examples.)

Two sets of faults, 40 a round, each on all images; a trial is one fault on one image:

    published  drawn from the list of 16,627 that the field has run (dnn-benchmarks; every bit of weight memory equally
               likely, so most are in the last stage, which holds most weights)
    layers     two in every layer, one at bit 30 and one at a random bit: every layer counts alike

PyTorchFI runs as its authors mean it, `declare_weight_fi` once a fault, then the faulty network on the images, under
`torch.inference_mode`, with one thread. Its batch, memory format and glibc's allocator are tuned first, on faults of
their own, and the best is taken. onnxfi runs in one process of one thread as well, fast, with pruning (as users run it)
and without, with its defaults and an allocator left alone. Both processes take turns within one run, and CPU time of
the process is compared. Each side's own golden top-1 decides what is a changed one. Target: at least 4 times.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
from inside import Unpruned
from setting import CHECKPOINT, assembled, shared, table

from onnxfi.engine.engine import Engine
from onnxfi.engine.patching import changed
from onnxfi.engine.prepare import prepare
from onnxfi.graph.chain import constant
from onnxfi.study.assembly import Assembly
from onnxfi.study.settings import Machine, Target

Array = np.ndarray[Any, Any]
Fault = tuple[str, tuple[int, ...], float]
ALLOCATORS: dict[str, dict[str, str]] = {
    "glibc as it is": {},
    # Freed memory is kept and never given back to the system: no page of a tensor is faulted in twice.
    "glibc tuned": {
        "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "4294967296",
        "MALLOC_TOP_PAD_": "67108864",
    },
}  # fmt: skip
LIST = "fault_lists/ResNet20_FL.csv"
FORMS = ("NCHW", "NHWC")
_FAULTS = 40
BATCHES = (8, 16, 32, 64, 128, 256)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, help="real weights and images (default: ONNXFI_SHARED_DATA)")
    parser.add_argument("--model", type=Path, help="the ResNet-20 of --shared, exported before")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    data = shared(options.shared)
    if data is None:
        parser.error("give --shared, or set ONNXFI_SHARED_DATA: the checkpoint is needed in both forms")
    with tempfile.TemporaryDirectory(prefix="onnxfi-pfi-") as name:
        folder, machine = Path(name), Machine(provider="cpu")
        made = assembled(data, options.model, folder, Target(kind="weights"), options.images, machine)
        prepare(made.network, made.probe, made.dataset.images, made.targets.space.regions, made.engine, folder)
        np.save(folder / "images.npy", made.dataset.images)
        best = tune(data, folder, made)
        compete(made, data, folder, best, options.rounds)


def draw(made: Assembly, data: Path, kind: str, seed: int) -> tuple[Array, list[Fault]]:
    """One round: the faults as trials, each on all images, and as (weight, index, faulty value)."""
    space, rng = made.targets.space, np.random.default_rng(seed)
    names = [region.tensor for region in space.regions]
    if kind == "layers":
        region = np.repeat(np.arange(len(names)), 2)
        site = np.array([rng.integers(space.regions[r].sites) for r in region])
        bit = np.where(np.arange(len(region)) % 2 == 0, 30, rng.integers(0, 32, len(region)))
    else:
        chosen = pd.read_csv(data / LIST).sample(_FAULTS, random_state=seed)
        region = np.array([names.index(f"{layer}.weight") for layer in chosen["Layer"]])
        shapes = [constant(made.network.model, names[number]).shape for number in region]
        indices = (tuple(map(int, text.strip("()").split(","))) for text in chosen["TensorIndex"])
        site = np.array([np.ravel_multi_index(i, shape) for i, shape in zip(indices, shapes, strict=True)])
        bit = chosen["Bit"].to_numpy()
    ids = space.ids(region, site, bit)
    faults = [_fault(made, names[trial["region"]], trial) for trial in space.trials(ids, np.zeros(len(ids), np.int64))]
    images = len(made.dataset)
    return space.trials(np.repeat(ids, images), np.tile(np.arange(images), len(ids))), faults


def _fault(made: Assembly, weight: str, trial: Any) -> Fault:
    stored, site = constant(made.network.model, weight), int(trial["site"])
    value = changed(stored.reshape(-1)[[site]], trial[None])[0]
    return weight, tuple(int(i) for i in np.unravel_index(site, stored.shape)), float(value)


def tune(data: Path, folder: Path, made: Assembly) -> tuple[str, bool, int]:
    """The allocator, whether channels come last, and the batch with which PyTorchFI takes the least CPU time."""
    _, faults = draw(made, data, "layers", seed=99)
    lines, found = [], {}
    for allocator, variables in ALLOCATORS.items():
        with process(variables, _pytorchfi_ready, data, folder) as pfi:
            for last in (False, True):
                for batch in BATCHES:
                    pfi(_pytorchfi_run, faults[:1], batch, last)
                    seconds = min(pfi(_pytorchfi_run, faults[start : start + 4], batch, last)[0] for start in (0, 4, 8))
                    found[allocator, last, batch] = seconds / 4 / len(made.dataset)
                each = [f"{found[allocator, last, batch] * 1e6:.0f}" for batch in BATCHES]
                lines.append([allocator, FORMS[last], *each])
    print("PyTorchFI, CPU microseconds a trial, by allocator, memory format and batch")
    table(["", "", *map(str, BATCHES)], lines)
    return min(found, key=lambda key: found[key])


def compete(made: Assembly, data: Path, folder: Path, best: tuple[str, bool, int], rounds: int) -> None:
    """In turn, round by round, and whether they agree."""
    allocator, last, batch = best
    print(
        f"\nPyTorchFI {version('pytorchfi')}, torch {version('torch')}: {allocator}, {FORMS[last]}, "
        f"batch {batch}, 1 thread"
    )
    print(
        f"onnxfi: fast, ONNX Runtime {onnxruntime.__version__} with all optimisations, 1 process of 1 thread; each row "
        "of a"
    )
    print(f"batch another fault. {made.network.path.name}, {len(made.dataset)} images, median of {rounds} rounds")
    lines = []
    with (
        process(ALLOCATORS[allocator], _pytorchfi_ready, data, folder) as pfi,
        process({}, _onnxfi_ready, folder) as onnxfi,
    ):
        for kind in ("published", "layers"):
            spent, theirs, ours = np.zeros((rounds, 3)), [], []
            for number in range(-1, rounds):  # the first, which warms everything up, is overwritten
                trials, faults = draw(made, data, kind, seed=number + 1)
                answers = (
                    pfi(_pytorchfi_run, faults, batch, last),
                    *(onnxfi(_onnxfi_run, trials, p) for p in (True, False)),
                )
                spent[max(number, 0)] = [seconds / len(trials) * 1e6 for seconds, _ in answers]
                theirs.append(answers[0][1])
                ours.append(answers[1][1])
            each, a, b = np.median(spent, axis=0), np.concatenate(theirs), np.concatenate(ours)
            lines.append([kind, *(f"{value:.0f}" for value in each), *(f"{each[0] / value:.2f}" for value in each[1:]),
                          f"{a.mean():.3%}", f"{b.mean():.3%}", f"{(a == b).mean():.4%} of {len(a)}"])  # fmt: skip
    table(["us a trial", "PyTorchFI", "onnxfi", "unpruned", "ratio", "unpruned", "changed", "changed", "agree"], lines)


@contextmanager
def process(variables: Mapping[str, str], ready: Callable[..., None], *arguments: Any):
    """A process of its own, started under these environment variables: call it with a function and its arguments."""
    kept = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=ready, initargs=arguments) as pool:
        pool.submit(int).result()
        for name, value in kept.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        yield lambda function, *given: pool.submit(function, *given).result()


_state: dict[str, Any] = {}


def _onnxfi_ready(folder: Path) -> None:
    _state.update(pruned=Engine(folder), whole=Unpruned(folder))


def _onnxfi_run(trials: Array, pruned: bool) -> tuple[float, Array]:
    engine = _state["pruned" if pruned else "whole"]
    start = process_time()
    records = engine.run(trials)
    spent = process_time() - start
    return spent, records["top1"] != engine.golden_class[records["image"]]


def _pytorchfi_ready(data: Path, folder: Path) -> None:
    import torch
    from pytorchfi.core import fault_injection

    from models.checkpoint import load
    from models.registry import architecture

    torch.set_num_threads(1)
    net = architecture("resnet20").build()
    load(net, data / CHECKPOINT)
    images = torch.from_numpy(np.load(folder / "images.npy"))
    kinds = (torch.nn.Conv2d, torch.nn.Linear)
    names = [f"{name}.weight" for name, module in net.named_modules() if isinstance(module, kinds)]
    with torch.inference_mode():
        golden = net(images).argmax(dim=1).numpy()
    for last in (False, True):
        form = torch.channels_last if last else torch.contiguous_format
        formed = architecture("resnet20").build()
        load(formed, data / CHECKPOINT)
        with torch.no_grad():
            injector = fault_injection(formed.to(memory_format=form), 1, [3, 32, 32], list(kinds), use_cuda=False)
        _state[FORMS[last]] = injector, images.contiguous(memory_format=form)
    _state.update(names=names, golden=golden)


def _pytorchfi_run(faults: Sequence[Fault], batch: int, last: bool) -> tuple[float, Array]:
    import torch

    injector, images = _state[FORMS[last]]
    answers = []
    start = process_time()
    with torch.inference_mode():
        for weight, index, value in faults:
            k, c, h, w = (*index, None, None)[:4]
            layer = _state["names"].index(weight)
            faulty = injector.declare_weight_fi(layer_num=[layer], k=[k], dim1=[c], dim2=[h], dim3=[w], value=[value])
            answers += [faulty(part).argmax(dim=1) for part in images.split(batch)]
    top1 = torch.cat(answers).numpy()
    return process_time() - start, top1 != np.tile(_state["golden"], len(faults))


if __name__ == "__main__":
    main()
