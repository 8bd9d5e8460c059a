"""Running a replay in its folder, block after block, to the end or to ^C."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onnxfi.engine.engine import Engine
from onnxfi.errors import StudyError
from onnxfi.metrics.facts import add_up, judge
from onnxfi.study import place
from onnxfi.study.bench import Context
from onnxfi.study.blocks import GOLDEN, BlockQuestion, Judging
from onnxfi.study.journal import Journal
from onnxfi.study.replay import Replay
from onnxfi.study.result import Cost, Result
from onnxfi.study.settings import Machine
from onnxfi.study.source import Elsewhere, Here, prepared, sweep, workshop
from onnxfi.study.units import Piece, Unit
from onnxfi.study.workers import Runner, runner_for

Shard = tuple[int, int]


@dataclass(frozen=True)
class Step:
    """How far a replay is. done, planned: trials, of the shard's share where there is one; earlier runs' included.

    run: trials and wall seconds of this run alone. blocks: how many blocks of images are done, and how many there are.
    """

    folder: Path
    done: int
    planned: int
    run: tuple[int, float]
    blocks: tuple[int, int]

    @property
    def rate(self) -> float:
        """Trials a second, of this run; 0 before its first unit."""
        trials, seconds = self.run
        return trials / seconds if trials else 0.0

    @property
    def left(self) -> float | None:
        """Seconds that the rest takes at this rate; None before there is one."""
        return (self.planned - self.done) / self.rate if self.rate else None


Listener = Callable[[Step], None]


def replay(
    asked: Replay, folder: Path, machine: Machine, workers: int, shard: Shard | None, listener: Listener | None = None
) -> None:
    """Run every fault on all images, or what the journal in `folder` lacks of it.

    shard: (i, n), i from 1: only every n-th unit. Raises StudyError and EngineError; KeyboardInterrupt passes through.
    The journal then holds every unit that was done, and the same call goes on.
    """
    place.claim(folder, asked.identity)
    with workshop(folder) as work, Journal.open(folder, asked.identity, asked.about) as journal:
        sweep(folder, work)
        _plan(journal, asked)
        watch = _Watch(asked, journal, folder, shard)
        for block in range(len(asked.blocks)):
            if listener is not None:
                listener(watch.step(block))
            units = watch.missing(block)
            if not units and journal.unit(block, 0):
                continue
            with _opened(asked, block, work, machine, workers, watch) as (runner, question):
                for result in runner.run(units):
                    rows = asked.order[question.rows(result.unit)]
                    watch.add(replace(result, records=add_up(rows, result.records)))
                    if listener is not None:
                        listener(watch.step(block))
        if listener is not None:
            listener(watch.step(len(asked.blocks)))


def _plan(journal: Journal, asked: Replay) -> None:
    """A round for each block: all rows once, and the fault-free run."""
    for block in range(len(journal.rounds()), len(asked.blocks)):
        journal.plan(block, np.array([asked.blocks.rows, 1], np.int64))


@contextmanager
def _opened(
    asked: Replay, block: int, work: Path, machine: Machine, workers: int, watch: _Watch
) -> Iterator[tuple[Runner, BlockQuestion]]:
    """A runner for a block's units; its fault-free run is written down first."""
    span = asked.blocks.span(block)
    images = np.ascontiguousarray(asked.dataset.images[span])
    labels = None if asked.dataset.labels is None else asked.dataset.labels[span]
    regions = asked.space.regions
    with workshop(work) as room:
        engine = prepared(asked.network, asked.probe, images, regions, asked.engine, room)
        watch.golden(_golden(engine, labels, block))
        source: Here | Elsewhere = Here(room)
        if machine.scheduler is not None:
            source = Elsewhere(asked.network, images, tuple(regions), asked.engine, engine.golden_class)
        question = BlockQuestion(asked.space, asked.ids, len(images))
        key = f"{asked.identity.id}-{block}"
        with runner_for(machine, Context(key, question, Judging(source, labels)), workers) as runner:
            yield runner, question


def _golden(engine: Engine, labels: NDArray[np.int64] | None, block: int) -> Result:
    """The fault-free run of a block as a unit of its own: it counts the labels' images."""
    logits = engine.golden_logits
    tally = add_up(np.zeros(len(logits), np.int64), judge(logits, logits, engine.golden_class, labels))
    return Result(Unit(block, 0, (Piece(GOLDEN, 0, 1),)), tally, Cost(len(logits), float(len(logits))))


class _Watch:
    """What is done and what is missing, and how fast it goes."""

    def __init__(self, asked: Replay, journal: Journal, folder: Path, shard: Shard | None) -> None:
        self._blocks, self._journal, self._folder = asked.blocks, journal, folder
        self._part, self._parts = shard or (1, 1)
        self._planned = sum(
            (unit.pieces[0].stop - unit.pieces[0].start) * self._images(block)
            for block in range(len(self._blocks))
            for unit in self._mine(block)
        )
        self._done = self._trials = 0
        self._last = self._started = time.monotonic()
        for block in range(len(self._blocks)):
            for unit in self._mine(block):
                known = journal.unit(block, unit.index)
                if known is not None:
                    if known != unit:
                        raise StudyError(place.torn(journal.path, f"unit {unit.index} of block {block} is another"))
                    self._done += (unit.pieces[0].stop - unit.pieces[0].start) * self._images(block)

    def missing(self, block: int) -> list[Unit]:
        """The units of a block, of this shard, that the journal lacks."""
        return [unit for unit in self._mine(block) if self._journal.unit(block, unit.index) is None]

    def golden(self, result: Result) -> None:
        """Write the fault-free run of a block down, if it is not there, and what it cost to get ready."""
        if self._journal.unit(result.unit.round, 0) is None:
            self._write(result)

    def add(self, result: Result) -> None:
        """Write a unit down."""
        self._write(result)
        trials = int(result.records["images"].sum())
        self._done, self._trials = self._done + trials, self._trials + trials

    def _write(self, result: Result) -> None:
        """With the wall time since the last one: all of them add up to what the replay took."""
        now = time.monotonic()
        self._journal.add(replace(result, cost=replace(result.cost, seconds=now - self._last)))
        self._last = now

    def step(self, block: int) -> Step:
        """How far it is."""
        run = (self._trials, time.monotonic() - self._started)
        return Step(self._folder, self._done, self._planned, run, (block, len(self._blocks)))

    def _mine(self, block: int) -> list[Unit]:
        return [unit for unit in self._blocks.units(block) if unit.index % self._parts == self._part - 1]

    def _images(self, block: int) -> int:
        span = self._blocks.span(block)
        return int(span.stop - span.start)
