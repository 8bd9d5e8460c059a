"""The public functions: what `onnxfi` does, from Python.

Importing this is light; the heavy libraries come with the first call.

    from onnxfi import Data, analyze

    run = analyze("resnet20.onnx", data=Data(("cifar10_test.npz",), preset="cifar10"))
    print(run.summary.mvf_weights, run.folder)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxfi.api.pairs import Parity as Parity
from onnxfi.api.pairs import compare_studies as compare_studies
from onnxfi.api.pairs import parity as parity
from onnxfi.api.remedy import Hardened as Hardened
from onnxfi.api.remedy import protect as protect
from onnxfi.api.sites import count as count
from onnxfi.api.sites import explain as explain
from onnxfi.engine.installed import check
from onnxfi.errors import StudyError
from onnxfi.study.settings import Data, Machine, Plan, Precision, Target
from onnxfi.vigor.settings import Experiments, Method, Question, Sampling, usual_target
from onnxfi.vigor.settings import Listener as Searching

if TYPE_CHECKING:
    from onnxfi.metrics.safety import Groups
    from onnxfi.report.anatomy import Anatomy
    from onnxfi.report.summary import Summary
    from onnxfi.study.conduct import Snapshot
    from onnxfi.study.tensorfi import Drawing
    from onnxfi.vigor.analysis import Analysis
    from onnxfi.vigor.deepvigor import Ranges

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
    progress: Callable[[Snapshot | Drawing], None] | None = None,
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
    progress  called with a Snapshot at the start and after each piece of work; then, with `tensorfi`, with a Drawing

    Raises an OnnxfiError whose message is one sentence: ModelError, DataError, FaultError, ProviderError, EngineError,
    StudyError. After KeyboardInterrupt, or whatever else stops it, the same call goes on.
    """
    check()
    from onnxfi.bundled.stand_in import stand_in
    from onnxfi.report.meaning import check_reading
    from onnxfi.report.tell import tell
    from onnxfi.study.assembly import Asked, assemble
    from onnxfi.study.conduct import conduct, worker_count
    from onnxfi.study.labels import arranged
    from onnxfi.study.tensorfi import add

    grouping = _groups(groups)
    model, data = stand_in(model, data or Data())
    machine = machine or Machine()
    asked = Asked(target or Target(), data, plan or Plan(), precision or Precision(), machine)
    workers = worker_count(machine)
    assembly = assemble(model, asked, 1 if machine.scheduler else workers)
    folder = Path(out) if out is not None else RUNS / f"{Path(model).stem}-{assembly.identity.id[:8]}"
    grouping = arranged(grouping, data) if grouping else None
    check_reading(assembly, grouping, fit_per_mbit, tensorfi)
    finding = conduct(assembly, folder, workers, progress)
    if tensorfi and grouping:
        add(assembly, finding, grouping, folder, workers, progress)
    return Run(folder, tell(finding, folder, asked.to_dict(), grouping, fit_per_mbit))


@dataclass(frozen=True)
class Vulnerability:
    """What `vigor` found: `found`, the object of vigor.json or deepvigor.json; the analysis itself, with the ranges of
    every site and image as arrays; and the folder of its files, if one was asked for."""

    found: dict[str, Any]
    analysis: Analysis | Ranges
    folder: Path | None

    def to_json(self) -> str:
        """`found` as the file holds it."""
        from onnxfi.report.vigor import to_json

        return to_json(self.found)


def vigor(
    model: Path | str | None = None,
    *,
    data: Data | None = None,
    target: Target | None = None,
    sampling: Sampling | None = None,
    method: Method = "deepvigor+",
    paper: bool = False,
    gradient_test: bool = False,
    confidence: float = 0.99,
    machine: Machine | None = None,
    validate: float | None = None,
    experiments: Experiments | None = None,
    out: Path | str | None = None,
    progress: Searching | None = None,
) -> Vulnerability:
    """Find out, from a few runs of each site, beyond which deviations `model` changes its answer, and so how
    vulnerable it is to flips of every bit.

    model, data, machine   as in `analyze`
    target     which faults. None: with 'deepvigor' the words that layers write, as published weights and operands,
               else weights and the words that layers read
    sampling   how much is looked at. None: every site on every image
    method     'deepvigor+': rates of sites, channels, layers and bits. 'deepvigor': ranges of neurons by class,
               validated on images that they were not found on
    paper      DeepVigor+ as published
    gradient_test  with its gradient test too, which skips what it should not; needs the extra `gradient`
    confidence of every interval
    validate   afterwards, inject real faults into this share of the channels; how well both agree is in `found`
    experiments  the paper's own, made of a complete analysis
    out        a folder for vigor.json, ranges.npz and tables, or deepvigor.json and neurons.csv, and report.html; of a
               study's folder the room `vigor` in it, and the study's page tells of it, too
    progress   called with the layer that comes next, pairs decided, and all pairs

    Raises an OnnxfiError whose message is one sentence: ModelError, DataError, FaultError, ProviderError, EngineError,
    StudyError.
    """
    check()
    from onnxfi.bundled.stand_in import stand_in
    from onnxfi.report import deepvigor, vigor, vigor_experiments
    from onnxfi.report.ranges import home
    from onnxfi.report.tell import tell_vigor
    from onnxfi.vigor.analysis import analyze
    from onnxfi.vigor.deepvigor import find_ranges
    from onnxfi.vigor.validate import validate as compare

    model, data = stand_in(model, data or Data())
    target = target or usual_target(method, paper)
    question = Question(target, data, sampling or Sampling(), confidence, machine or Machine(), paper, gradient_test)
    folder = None if out is None else home(Path(out))
    if method == "deepvigor":
        if validate is not None:
            raise StudyError("DeepVigor is validated on unseen images in any case: leave --validate out.")
        if experiments is not None:
            raise StudyError("Samples and batches are compared for DeepVigor+: leave --method deepvigor out.")
        ranges = find_ranges(model, question, progress)
        found = deepvigor.facts(ranges)
        if folder:
            deepvigor.write(folder, ranges, found)
            tell_vigor(folder)
        return Vulnerability(found, ranges, folder)
    (experiments or Experiments()).check(question.sampling)
    analysis = analyze(model, question, progress)
    found = vigor.facts(analysis, () if validate is None else compare(analysis, validate))
    found |= vigor_experiments.facts(analysis, experiments or Experiments())
    if folder:
        vigor.write(folder, analysis, found)
        vigor_experiments.write(folder, found)
        tell_vigor(folder)
    return Vulnerability(found, analysis, folder)


def write_report(
    runs: Sequence[Path | str],
    out: Path | str | None = None,
    *,
    groups: Path | str | None = None,
    fit_per_mbit: float | None = None,
) -> Path:
    """Write the page of a study again from its journal, or one page that compares several; its path.

    runs          folders of studies, finished or not, and of DeepVigor runs
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
