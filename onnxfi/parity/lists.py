"""A fault list in both networks: the same rows on the same images, block of images by block.

All rows run on one block before any runs on the next, so that whenever it is stopped every fault has run on as many
images as any other.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.errors import FaultError
from onnxfi.faults.space import FaultSpace
from onnxfi.metrics.outcome import CRITICAL
from onnxfi.parity.both import BothHere
from onnxfi.parity.ledger import Ledger, Told
from onnxfi.parity.match import Pair
from onnxfi.parity.mirror import Steps
from onnxfi.parity.paired import DISAGREEMENT
from onnxfi.parity.twins import Twins
from onnxfi.study.bench import Context
from onnxfi.study.blocks import BlockQuestion, Blocks
from onnxfi.study.list_settings import Meet
from onnxfi.study.replay import Replay, assemble
from onnxfi.study.settings import Data, Machine
from onnxfi.study.source import Here, prepared, sweep, workshop
from onnxfi.study.units import Unit
from onnxfi.study.workers import processes, serial

BLOCK = 20
"""Images that all rows of the list run on before the next ones come."""

Progress = Callable[[Path, int, int, float], None]
"""Told where it is kept, trials done, all there are, and the trials a second of this run."""


@dataclass(frozen=True)
class Task:
    """A list that met both networks.

    replay  the list in the first one
    pairs   of each region of `replay.space`
    space   the same regions in the second network
    """

    replay: Replay
    twins: Twins
    pairs: tuple[Pair, ...]
    space: FaultSpace
    blocks: Blocks

    @property
    def steps(self) -> tuple[Steps, ...]:
        """How the sites of each region lie in the second network."""
        return tuple(pair.steps for pair in self.pairs)

    @property
    def question(self) -> str:
        """What makes this replay this one and no other."""
        asked: dict[str, Any] = json.loads(self.replay.identity.text)
        there = [self.twins.b.network.sha256, self.twins.images_b.sha256, self.blocks.size]
        return json.dumps([asked, *there], sort_keys=True)

    def trials(self, block: int, unit: Unit) -> int:
        """Trials of a unit."""
        span, (piece,) = self.blocks.span(block), unit.pieces
        return int((piece.stop - piece.start) * (span.stop - span.start))


def meet_both(path: Path, twins: Twins, data: Data, meet: Meet, machine: Machine, workers: int) -> Task:
    """Find the list's faults in the first network, and their twins in the second. `data`: the first network's.

    Raises FaultError where a row has no twin, and whatever study.replay.assemble does.
    """
    asked = assemble(path, twins.path_a, data, meet, machine, 2 * workers)
    known = {pair.a.stored.tensor: pair for pair in twins.matching.pairs}
    pairs, regions = [], []
    for region in asked.space.regions:
        pair = known.get(region.tensor)
        if pair is None or not pair.replayable:
            why = pair.why if pair else "no layer there holds its values"
            raise FaultError(f"The list's faults in {region.tensor!r} have no twin in the second model: {why}.")
        pairs.append(pair)
        regions.append(replace(region, tensor=pair.b.stored.tensor, layer=pair.b.layer.index))
    home, _, _ = asked.space.locate(asked.ids)
    images = len(asked.dataset)
    blocks = Blocks(images, min(BLOCK, images), home)
    return Task(asked, twins, tuple(pairs), FaultSpace(regions), blocks)


def run_list(task: Task, folder: Path, workers: int, budget: int | None, progress: Progress | None = None) -> Told:
    """Run every row in both networks on all images, or what the ledger in `folder` lacks.

    budget: trials after which no block is begun. What comes back is of the blocks that are whole. Raises StudyError and
    EngineError; after KeyboardInterrupt the same call goes on.
    """
    with workshop(folder) as work, Ledger(folder, task.question) as ledger:
        sweep(folder, work)
        run = _Run(task, ledger, workers, work, partial(progress, folder) if progress else None)
        whole = 0
        while whole < len(task.blocks) and (budget is None or run.done < budget):
            run.block(whole)
            whole += 1
        return ledger.told(task.blocks.rows, whole)


class _Run:
    """One sitting: what is done, and how fast it goes."""

    def __init__(
        self,
        task: Task,
        ledger: Ledger,
        workers: int,
        work: Path,
        progress: Callable[[int, int, float], None] | None,
    ) -> None:
        self._task, self._ledger, self._work, self._workers = task, ledger, work, workers
        self._progress = progress
        self._total = task.blocks.rows * task.blocks.images
        self._started, self._here = time.monotonic(), 0
        self.done = 0

    def block(self, block: int) -> None:
        """What the ledger lacks of a block."""
        known, units = self._ledger.units(block), list(self._task.blocks.units(block))
        self.done += sum(self._task.trials(block, unit) for unit in units if unit.index in known)
        missing = [unit for unit in units if unit.index not in known]
        if not missing:
            return
        task, span = self._task, self._task.blocks.span(block)
        asked, question = task.replay, BlockQuestion(task.replay.space, task.replay.ids, span.stop - span.start)
        with ExitStack() as rooms:
            here, there = (rooms.enter_context(workshop(self._work)) for _ in range(2))
            for side, images, space, room in (
                (asked, asked.dataset.images, asked.space, here),
                (task.twins.b, task.twins.images_b.images, task.space, there),
            ):
                some = np.ascontiguousarray(images[span])
                prepared(side.network, side.probe, some, space.regions, asked.engine, room).close()
            source = BothHere(Here(here), Here(there), task.space, task.steps)
            context = Context(f"{asked.identity.id}-{block}", question, source)
            runner = serial(context) if self._workers == 1 else processes(context, self._workers)
            for result in rooms.enter_context(runner).run(missing):
                self._write(question, span.start, result.unit, result.records)
                self._tell(self._task.trials(block, result.unit))

    def _write(self, question: BlockQuestion, first: int, unit: Unit, records: NDArray[Any]) -> None:
        """Count a unit's trials, and keep those that are critical in one network only."""
        (piece,) = unit.pieces
        cells = np.zeros((piece.stop - piece.start, 3, 3), np.int64)
        np.add.at(cells, (question.rows(unit) - piece.start, records["outcome_a"], records["outcome_b"]), 1)
        apart = records[(records["outcome_a"] == CRITICAL) != (records["outcome_b"] == CRITICAL)]
        found = np.zeros(len(apart), DISAGREEMENT)
        found["region"], found["site"], found["bit"] = self._task.replay.space.locate(apart["fault"])
        found["image"] = apart["image"] + first
        for field in ("outcome_a", "outcome_b", "top1_a", "top1_b", "margin_a", "margin_b"):
            found[field] = apart[field]
        self._ledger.add(unit, question.images, cells, found)

    def _tell(self, trials: int) -> None:
        self.done += trials
        self._here += trials
        if self._progress is not None:
            self._progress(self.done, self._total, self._here / max(time.monotonic() - self._started, 1e-9))
