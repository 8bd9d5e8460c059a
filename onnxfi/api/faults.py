"""Fault lists from Python: `from onnxfi.api import faults`.

    faults.draw("resnet20.onnx", faults.Draw(generator="published", seed=42), out="list.csv")
    found = faults.run("list.csv", "resnet20.onnx", data=Data(("cifar10_test.npz",)))
    print(sum(entry.counts.critical for entry in found.listed.entries), found.folder)

A list is a `FaultList`, of which each `Entry` is a row and its `Counts` what the fault did.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from onnxfi.engine.installed import check
from onnxfi.faults.forms import Form, Format, LineEnds, NanRule
from onnxfi.study.list_settings import Draw, Meet
from onnxfi.study.settings import Data, Machine, check_shard

if TYPE_CHECKING:
    from onnxfi.faults.listing import FaultList
    from onnxfi.study.replayed import Replayed
    from onnxfi.study.replaying import Listener

__all__ = ["Draw", "Meet", "convert", "draw", "merge", "run"]

RUNS = Path("onnxfi-run")


def draw(
    model: Path | str, asked: Draw | None = None, *, out: Path | str | None = None, line_ends: LineEnds = "lf"
) -> FaultList:
    """Draw a list of faults of `model`'s weights, by a statistical plan; with `out`, write it there.

    The layers are called as the framework calls them where the model tells: by its metadata, by its initializers.
    Raises ModelError, and FaultError where a weight is none that such a list can name.
    """
    check()
    from onnxfi.faults.writing import write_list
    from onnxfi.graph.network import Network
    from onnxfi.study.drawing import draw_list

    drawn = draw_list(Network.load(model, unshare=True), asked or Draw())
    if out is not None:
        write_list(drawn, Path(out), "list", line_ends)
    return drawn


def run(
    listed: Path | str,
    model: Path | str,
    *,
    data: Data,
    meet: Meet | None = None,
    machine: Machine | None = None,
    shard: tuple[int, int] | None = None,
    nan_rule: NanRule = "onnxfi",
    out: Path | str | None = None,
    form: Format = "results",
    line_ends: LineEnds = "lf",
    progress: Listener | None = None,
) -> Replayed:
    """Run every fault of a list on all images, and write what each did.

    listed     the file: four columns, eight with results, or a report of keras_weight_injector
    data       images, and how they are preprocessed
    meet       how the list's names and indices lead into the model
    machine    where it runs; None: exact runs on the CPU, a process a core
    shard      (i, n): the i-th of n parts, i from 1; `merge` joins them
    nan_rule   what is masked and what critical: 'onnxfi', 'sfi' or 'keras-weight-injector', see onnxfi.metrics.facts.
               All are counted at once: the same call with another rule runs nothing again
    out        the folder. None: one under ./onnxfi-run, named after list and question. Where it holds this very replay,
               it goes on from where it was
    form       of results.csv: 'results' or 'keras-report'
    progress   called with a Step at the start and after each piece of work

    Raises FaultError, ModelError, DataError, ProviderError, EngineError, StudyError. After KeyboardInterrupt, or
    whatever else stops it, the same call goes on.
    """
    check()
    from onnxfi.report import replay as report
    from onnxfi.study.conduct import worker_count
    from onnxfi.study.replay import assemble
    from onnxfi.study.replayed import replayed
    from onnxfi.study.replaying import replay

    if shard is not None:
        check_shard(shard)
    machine = machine or Machine(exact=True)
    workers = worker_count(machine)
    asked = assemble(listed, model, data, meet or Meet(), machine, 1 if machine.scheduler else workers)
    folder = Path(out) if out is not None else RUNS / f"{Path(listed).stem}-{asked.identity.id[:8]}"
    replay(asked, folder, machine, workers, shard, progress)
    found = replayed(folder, nan_rule)
    report.write(found, form, line_ends)
    return found


def merge(
    shards: Sequence[Path | str],
    out: Path | str,
    *,
    nan_rule: NanRule = "onnxfi",
    form: Format = "results",
    line_ends: LineEnds = "lf",
) -> Replayed:
    """Join the folders of a replay's shards into the folder `out`.

    Raises StudyError where they hold different replays, or different counts of one fault.
    """
    check()
    from onnxfi.report import replay as report
    from onnxfi.study.replayed import join

    found = join([Path(shard) for shard in shards], Path(out), nan_rule)
    report.write(found, form, line_ends)
    return found


def convert(
    listed: Path | str,
    *,
    to: Form = "auto",
    match: Path | str | None = None,
    models: tuple[Path | str, Path | str] | None = None,
    out: Path | str | None = None,
    form: Format | None = None,
    line_ends: LineEnds = "lf",
) -> FaultList:
    """The same faults in another framework's words; with `out`, written there.

    to      'pytorch' or 'keras'; 'auto': the other form than the list's, or that of the second model's framework
    match   a file of layer names, `PT,TF`; without it, and without models, layers keep their names
    models  (the list's, the other's): layers are matched by the numbers that their weights hold
    form    of the file; None: as the list is, with results where it has them

    Raises FaultError, ModelError.
    """
    check()
    from onnxfi.faults.listing import read_list
    from onnxfi.faults.writing import own_format, write_list
    from onnxfi.study.converting import by_models, by_names

    given = read_list(Path(listed))
    names = None if match is None else Path(match)
    if models is None:
        found = by_names(given, to, names)
    else:
        found = by_models(given, *models, to, Meet(match=names))
    if out is not None:
        write_list(found, Path(out), form or own_format(found), line_ends)
    return found
