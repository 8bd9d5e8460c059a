"""The public functions: what `onnxfi` does, from Python.

Importing this is light; the heavy libraries come with the first call.

    from onnxfi import Data, analyze

    run = analyze("resnet20.onnx", data=Data(("cifar10_test.npz",), preset="cifar10"))
    print(run.summary.mvf_weights, run.folder)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from onnxfi.engine.installed import check
from onnxfi.study.settings import Data, Machine, Plan, Precision, Target

if TYPE_CHECKING:
    from onnxfi.metrics.safety import Groups
    from onnxfi.report.anatomy import Anatomy
    from onnxfi.report.summary import Summary
    from onnxfi.study.conduct import Snapshot

RUNS = Path("onnxfi-run")


@dataclass(frozen=True)
class Run:
    """A study that was run: its folder, and its summary, the object of summary.json as a record."""

    folder: Path
    summary: Summary


def analyze(
    model: Path | str | None = None,
    *,
    data: Data | None = None,
    target: Target | None = None,
    plan: Plan | None = None,
    precision: Precision | None = None,
    machine: Machine | None = None,
    out: Path | str | None = None,
    groups: Path | str | None = None,
    fit_per_mbit: float | None = None,
    tensorfi: bool = False,
    progress: Callable[[Snapshot], None] | None = None,
) -> Run:
    """Find out where `model` is vulnerable, and write study, tables and summary into a folder.

    model     an ONNX file; None: the bundled model, on the bundled images unless `data` names others
    data      images, and how they are preprocessed
    target    which faults
    plan      which trials
    precision how far an adaptive study goes, and the confidence of every interval
    machine   where it runs
    out       the folder. None: one under ./onnxfi-run, named after model and question. Where it holds this very study,
              the study goes on from where it was
    groups    for safety-critical misclassification: 'cifar10', 'cifar100', 'gtsrb', 'imagenet', or a file of your own
    fit_per_mbit  raw rate of bit upsets, in FIT per Mbit (10**6 bits): adds failures in time
    tensorfi  adds the three settings of SCM with faults drawn as TensorFI+ draws them; needs `groups` and labels
    progress  called with a Snapshot at the start and after each piece of work

    Raises an OnnxfiError whose message is one sentence: ModelError, DataError, FaultError, ProviderError, EngineError,
    StudyError. After KeyboardInterrupt, or whatever else stops it, the same call goes on.
    """
    check()
    from onnxfi.report.meaning import check_reading
    from onnxfi.report.tell import tell
    from onnxfi.study.assembly import Asked, assemble
    from onnxfi.study.conduct import conduct, worker_count
    from onnxfi.study.labels import arranged
    from onnxfi.study.tensorfi import add

    grouping = _groups(groups)
    data = data or Data()
    if model is None:
        from onnxfi.bundled import data_path, model_path

        model = model_path()
        if not data.paths and data.synthetic is None:
            data = replace(data, paths=(data_path(),))
    machine = machine or Machine()
    asked = Asked(target or Target(), data, plan or Plan(), precision or Precision(), machine)
    workers = worker_count(machine)
    assembly = assemble(model, asked, 1 if machine.scheduler else workers)
    folder = Path(out) if out is not None else RUNS / f"{Path(model).stem}-{assembly.identity.id[:8]}"
    grouping = arranged(grouping, data) if grouping else None
    check_reading(assembly, grouping, fit_per_mbit, tensorfi)
    finding = conduct(assembly, folder, workers, progress)
    if tensorfi and grouping:
        add(assembly, finding, grouping, folder)
    return Run(folder, tell(finding, folder, asked.to_dict(), grouping, fit_per_mbit))


def write_report(
    runs: Sequence[Path | str],
    out: Path | str | None = None,
    *,
    groups: Path | str | None = None,
    fit_per_mbit: float | None = None,
) -> Path:
    """Write the page of a study again from its journal, or one page that compares several; its path.

    runs          folders of studies, finished or not
    out           the file. None: report.html in the folder of the one study, or for several in the current folder
    groups        as in `analyze`; None, and likewise below: as the last time
    fit_per_mbit  as in `analyze`

    Raises StudyError for a folder that holds no study, or a torn one, and DataError for groups of other classes.
    """
    check()
    from onnxfi.report.tell import write_page

    return write_page([Path(run) for run in runs], None if out is None else Path(out), _groups(groups), fit_per_mbit)


def _groups(name: Path | str | None) -> Groups | None:
    from onnxfi.metrics.safety import load_groups

    return None if name is None else load_groups(str(name))


def show(model: Path | str, *, output: str | None = None, unshare: bool = False) -> Anatomy:
    """What `model` holds, layer by layer, and what of it can be injected.

    output   the model's output to look at; None: its only one
    unshare  an initializer that several nodes read becomes one for each of them

    Raises ModelError.
    """
    check()
    from onnxfi.report.anatomy import dissect

    return dissect(model, output, unshare)


def inject(model: Path | str, faults: Sequence[str], output: Path | str, *, baked: bool = False) -> None:
    """Write to `output` a whole ONNX model that is `model` with faults in it.

    faults  each 'TENSOR[i,j,...]:CHANGE' with CHANGE flip@BIT, stuck0@BIT, stuck1@BIT, mask@0x... or value@X, or
            '@FILE.json'; bit 0 is the least significant; an activation's index leaves the batch out
    baked   change stored weights in place, at the model's own opset; else nodes of standard ops do it at run time

    Raises ModelError, and FaultError for a place, a bit or a value that does not exist.
    """
    check()
    from onnxfi.study import injection

    injection.inject(Path(model), faults, Path(output), baked)


def merge(shards: Sequence[Path | str], out: Path | str) -> Run:
    """Join the folders of a fixed plan's shards into the study that they are parts of.

    Raises StudyError where they hold different studies, or different results of one trial.
    """
    check()
    from onnxfi.report.tell import tell
    from onnxfi.study.joining import join

    folder = Path(out)
    return Run(folder, tell(join([Path(shard) for shard in shards], folder), folder))
