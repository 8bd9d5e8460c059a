"""Running a study in its folder, to the end or to ^C, with a listener that is told how far it is."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from onnxfi.engine.engine import Engine
from onnxfi.metrics.estimate import Estimate
from onnxfi.study import place
from onnxfi.study.accuracy import accuracy
from onnxfi.study.answers import Answers
from onnxfi.study.assembly import Assembly
from onnxfi.study.bench import Context
from onnxfi.study.campaign import Progress, campaign
from onnxfi.study.finding import Finding, find
from onnxfi.study.journal import Journal
from onnxfi.study.rates import OUTCOMES
from onnxfi.study.result import Cost
from onnxfi.study.settings import Machine, Precision
from onnxfi.study.source import Elsewhere, Here, prepared, sweep, workshop
from onnxfi.study.workers import Runner, runner_for


@dataclass(frozen=True)
class Snapshot:
    """A study at work.

    mvf     of each target, so far
    widest  half-width of the LVF that is known least, so far
    goal    the precision to reach; None under a fixed plan
    """

    folder: Path
    progress: Progress
    mvf: Mapping[str, Estimate]
    widest: float
    goal: Precision | None


Listener = Callable[[Snapshot], None]


def worker_count(machine: Machine) -> int:
    """Processes that run trials on this machine: as asked, or one a core that this process may use."""
    if machine.workers is not None:
        return machine.workers
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def conduct(assembly: Assembly, folder: Path, workers: int, listener: Listener | None = None) -> Finding:
    """Run the study in `folder`, or what its journal lacks of it, and recompute what it found.

    Raises StudyError and EngineError; KeyboardInterrupt passes through. The journal then holds what was done, and the
    same call goes on.
    """
    started = time.monotonic()
    asked, question = assembly.asked, assembly.question
    place.claim(folder, assembly.identity)
    with workshop(folder) as work:
        network, probe, images = assembly.network, assembly.probe, assembly.dataset.images
        engine = prepared(network, probe, images, question.space.regions, assembly.engine, work)
        about = {
            **assembly.about,
            "golden_accuracy": _accuracy(assembly, engine),
            "answers": Answers.of(engine.golden_logits, assembly.dataset).to_dict(),
            "settings": asked.to_dict(),
        }
        with Journal.open(folder, assembly.identity, about) as journal:
            sweep(folder, work)
            spent = Cost(len(images), float(len(images)), time.monotonic() - started)
            watch = _Watch(assembly, folder)
            with _runner(assembly, engine, work, workers) as runner:
                for progress in campaign(
                    question,
                    assembly.scheme.propose,
                    journal,
                    runner,
                    asked.precision.confidence,
                    asked.plan.shard,
                    spent,
                    assembly.scheme.pilots,
                ):
                    if listener is not None:
                        listener(watch.snapshot(progress))
            return find(journal, assembly.targets, assembly.scheme, len(images), asked.precision.confidence)


def _runner(assembly: Assembly, engine: Engine, work: Path, workers: int) -> AbstractContextManager[Runner]:
    """Where the units run: a Dask cluster, processes of this machine, or this process."""
    question, machine = assembly.question, assembly.asked.machine
    source: Here | Elsewhere = Here(work)
    if machine.scheduler is not None:
        images = assembly.dataset.images
        source = Elsewhere(assembly.network, images, question.space.regions, assembly.engine, engine.golden_class)
    return runner_for(machine, Context(assembly.identity.id, question, source), workers)


def _accuracy(assembly: Assembly, engine: Engine) -> dict[str, float] | None:
    labels = assembly.dataset.labels
    return None if labels is None else asdict(accuracy(engine.golden_logits, labels))


class _Watch:
    """Snapshots of one study: a few rates of many strata, again and again, so their weights are worked out once."""

    def __init__(self, assembly: Assembly, folder: Path) -> None:
        factors, asked = assembly.scheme.factors, assembly.asked
        mvf = {target: factors.mvf(target) for target in factors.targets}
        lvf = [factors.lvf(target, layer) for target in factors.targets for layer in factors.own_layers(target)]
        self._folder = folder
        self._goal = asked.precision if asked.plan.kind == "adaptive" else None
        self._targets: list[str] = [target for target, weights in mvf.items() if weights is not None]
        self._weights = np.array([weights for weights in (*mvf.values(), *lvf) if weights is not None])

    def snapshot(self, progress: Progress) -> Snapshot:
        rates = progress.rates
        estimates = rates.each(self._weights, rates.counts[:, OUTCOMES.index("critical")])
        models = len(self._targets)
        mvf = dict(zip(self._targets, estimates[:models], strict=True))
        widest = max((estimate.half_width for estimate in estimates[models:]), default=1.0)
        return Snapshot(self._folder, progress, mvf, widest, self._goal)
