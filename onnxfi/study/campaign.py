"""The loop of a study: plan a round, run what the journal lacks of it, count, plan the next.

A round is a pure function of the rounds before it, and is written down before its first unit. So a study may stop
anywhere (^C, kill -9, an empty battery), and the same command ends with the same numbers as if it had not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onnxfi.errors import StudyError
from onnxfi.study import place
from onnxfi.study.adaptive import Tally
from onnxfi.study.journal import Journal
from onnxfi.study.question import Question
from onnxfi.study.rates import Rates
from onnxfi.study.result import Cost, Result
from onnxfi.study.units import Unit
from onnxfi.study.workers import Runner

Propose = Callable[[Tally], NDArray[np.int64] | None]
"""The next round, as i8[H] further draws of each stratum, from the counts of the rounds before; None: it is enough."""


@dataclass(frozen=True)
class Progress:
    """How far a study is, after a unit.

    round     the number of the round that is running, or would be next
    planned   trials of all rounds planned so far; done are `rates.trials.sum()`
    rates     all counts so far: estimates are made of them
    cost      of the study, all its runs together
    run       of this run alone: trials, and wall seconds
    """

    round: int
    planned: int
    rates: Rates
    cost: Cost
    run: tuple[int, float]

    @property
    def trials(self) -> int:
        """Trials done, in this and earlier runs."""
        return int(self.rates.trials.sum())

    @property
    def rate(self) -> float:
        """Trials a second, of this run; 0 before its first unit."""
        trials, seconds = self.run
        return trials / seconds if seconds > 0 else 0.0


def campaign(
    question: Question,
    propose: Propose,
    journal: Journal,
    runner: Runner,
    confidence: float,
    shard: tuple[int, int] | None = None,
    preparation: Cost | None = None,
    pilots: int = 0,
) -> Iterator[Progress]:
    """Run a study to its end, and say how far it is: at the start, after each unit, and at the end.

    Rounds that the journal knows are replayed as they were planned, whatever `propose` would say today: so that another
    precision or budget goes on from them. A round that was begun is finished, unless the rounds before it are enough.
    shard: (i, n), i from 1: only every n-th unit of each round; the run ends with the first round that the others have
    not finished. confidence: of the intervals in Progress. preparation: what it cost to get ready, written down with
    the first unit of this run. pilots: so many rounds at the beginning are run whole by every shard, because what comes
    after them depends on all of their counts.

    Raises StudyError and EngineError; the journal then holds every unit that was reported, and the same call goes on.
    """
    course, last, trials, started = _Course(question, journal), time.monotonic(), 0, time.monotonic()

    def progress() -> Progress:
        run = (trials, time.monotonic() - started)
        return Progress(course.round, course.planned, course.rates(confidence), course.cost, run)

    allocation = course.next(propose)
    yield progress()
    while allocation is not None:
        for result in runner.run(course.missing(allocation, None if course.round < pilots else shard)):
            now = time.monotonic()
            if preparation is not None:
                course.prepare(preparation)
                preparation = None
            course.add(replace(result, cost=replace(result.cost, seconds=now - last)))
            last = now
            trials += len(result.records)
            yield progress()
        if not course.finish(allocation):
            return
        allocation = course.next(propose)
    yield progress()


class _Course:
    """Where a study stands: the rounds that are done, and the one that is running."""

    def __init__(self, question: Question, journal: Journal) -> None:
        self.question, self.journal = question, journal
        self.rounds = journal.rounds()
        self.cost = journal.cost()
        self.round = 0
        self.drawn = np.zeros(len(question.strata), np.int64)
        self.counts = np.zeros((len(question.strata), 4), np.int64)
        self._before = self.drawn
        if any(len(allocation) != len(self.drawn) for allocation in self.rounds):
            raise StudyError(f"{journal.path} has another number of strata than this study; give another folder.")

    @property
    def planned(self) -> int:
        draws = sum(int(allocation.sum()) for allocation in self.rounds[: self.round + 1])
        return draws * (self.question.images if self.question.crossed else 1)

    def rates(self, confidence: float) -> Rates:
        question = self.question
        return Rates(
            question.strata, self.drawn.copy(), self.counts.copy(), question.images, question.crossed, confidence
        )

    def next(self, propose: Propose) -> NDArray[np.int64] | None:
        """The allocation of the next round that is not finished, with what the journal has of it counted; or None."""
        while True:
            known = self.rounds[self.round] if self.round < len(self.rounds) else None
            table = self.journal.counts(self.round, len(self.drawn))
            if known is not None and (table[:, 0] == known).all():
                self._take(table)
                self.round += 1
                continue
            proposed = propose(Tally(self.counts.copy()))
            if proposed is None:
                return None
            if known is None:
                if not proposed.any():
                    raise ValueError("a round must draw something")
                self.journal.plan(self.round, proposed)
                self.rounds.append(proposed)
            self._before = self.drawn.copy()
            self._take(table)
            return self.rounds[self.round]

    def _take(self, table: NDArray[np.int64]) -> None:
        self.drawn += table[:, 0]
        self.counts += table[:, 1:]

    def missing(self, allocation: NDArray[np.int64], shard: tuple[int, int] | None) -> Iterator[Unit]:
        """The round's units that the journal lacks, in order; of a shard, its own."""
        part, parts = shard or (1, 1)
        for unit in self.question.units(self.round, allocation, self._before):
            if unit.index % parts != part - 1:
                continue
            known = self.journal.unit(self.round, unit.index)
            if known is None:
                yield unit
            elif known != unit:
                where = f"unit {unit.index} of round {unit.round} was planned otherwise"
                raise StudyError(place.torn(self.journal.path, where))

    def prepare(self, cost: Cost) -> None:
        """Write down what it cost to get ready."""
        self.journal.add_preparation(cost)
        self.cost += cost

    def add(self, result: Result) -> None:
        """Write a unit's result down, and count it."""
        self.journal.add(result)
        self.cost += result.cost
        for piece, counts in zip(result.unit.pieces, result.counts(), strict=True):
            self.drawn[piece.stratum] += piece.stop - piece.start
            self.counts[piece.stratum] += counts

    def finish(self, allocation: NDArray[np.int64]) -> bool:
        """Go on to the next round; False where others have not done their share of this one."""
        whole = bool((self.drawn == self._before + allocation).all())
        self.round += whole
        return whole
