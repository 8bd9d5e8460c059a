"""A study on the fake engine. `python fake_study.py FOLDER DELAY WORKERS` runs it, for tests that kill it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import fake_engine
import numpy as np
from numpy.typing import NDArray

from onnxfi.metrics.factors import Factors
from onnxfi.study import workers
from onnxfi.study.adaptive import Design, Tally, propose
from onnxfi.study.bench import Context
from onnxfi.study.campaign import Progress, Propose, campaign
from onnxfi.study.identity import Identity
from onnxfi.study.journal import Journal
from onnxfi.study.question import Question
from onnxfi.study.result import Cost
from onnxfi.study.settings import Precision

LAYERS = 3
SPACE = fake_engine.space(LAYERS)
ADAPTIVE = Question(SPACE, SPACE.strata(), images=5, seed=3)
CROSSED = Question(SPACE, SPACE.strata(), images=5, seed=3, crossed=True)
IDENTITY = Identity(
    model="ab" * 32,
    data={"images": 5},
    space={"fault_model": "bit-flip"},
    plan={"kind": "adaptive"},
    seed=3,
    criterion="top-1",
    arithmetic="exact",
    provider="fake",
    onnxruntime="0",
)
FIXED = Identity(**{**IDENTITY.__dict__, "plan": {"kind": "fixed"}})
FACTORS = Factors(ADAPTIVE.strata, {"weights": range(LAYERS), "activations": range(LAYERS)})


def adaptive(model: float = 0.02, layer: float = 0.06, budget: int | None = None) -> Propose:
    """Rounds until the intervals are that narrow."""
    precision = Precision(model=model, layer=layer, confidence=0.99, budget=budget)
    return partial(propose, Design.of(ADAPTIVE.strata, ADAPTIVE.images, FACTORS, precision))


def fixed(faults: int = 30) -> Propose:
    """One round of so many faults of each stratum."""

    def plan(tally: Tally) -> NDArray[np.int64] | None:
        return None if tally.trials.any() else np.full(len(CROSSED.strata), faults)

    return plan


def study(
    folder: Path,
    plan: Propose,
    question: Question = ADAPTIVE,
    shard: tuple[int, int] | None = None,
    workers_: int = 1,
    tell: Callable[[Progress], None] = lambda progress: None,
    **engine: Any,
) -> list[Progress]:
    """Run a study, begun or not, to its end; everything that it said on the way, told at once and given in the end."""
    context = Context("fake", question, fake_engine.FakeSource(**engine))
    runner = workers.serial(context) if workers_ == 1 else workers.processes(context, workers_)
    identity = FIXED if question.crossed else IDENTITY
    with Journal.open(folder, identity) as journal, runner:
        said = []
        for progress in campaign(question, plan, journal, runner, 0.99, shard, Cost(5, 5.0, 0.5)):
            tell(progress)
            said.append(progress)
        return said


def told(folder: Path) -> list[object]:
    """Everything that a journal says but what it cost: two runs of one study differ in nothing else."""
    with Journal.read(folder) as journal:
        rounds = [allocation.tolist() for allocation in journal.rounds()]
        return [rounds, [(result.unit, result.records.tobytes()) for result in journal.results()]]


if __name__ == "__main__":
    folder, delay, many = sys.argv[1:]
    study(
        Path(folder),
        adaptive(),
        workers_=int(many),
        tell=lambda progress: print(progress.trials, flush=True),
        delay=float(delay),
    )
