"""Jobs on engines: in this process, or in several, each with an engine of its own on one prepared folder."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from onnxfi.engine.deviation import Deviations
from onnxfi.engine.engine import Cost
from onnxfi.errors import EngineError
from onnxfi.study.pool import deaf, obey

_AHEAD = 4  # jobs for each process that are handed out before they are asked for

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Job(Protocol[T_co]):
    """Something to do with an engine; it is sent to the process that does it."""

    def run(self, engine: Deviations) -> T_co: ...


class Crew(Generic[T]):
    """Runs jobs in order of asking; a context manager. `cost` is what all of them ran so far."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.cost = Cost()
        self._engine = Deviations(folder) if workers == 1 else None
        self._pool = None
        self._ahead = _AHEAD * workers
        if self._engine is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(workers, context, _initialise, (folder,))

    def results(self, jobs: Iterable[Job[T]]) -> Iterator[T]:
        """What each job gives, in their order. Raises EngineError where one failed or its process died."""
        if self._engine is not None:
            for job in jobs:
                yield self._counted(*_do(self._engine, job))
            return
        try:
            yield from self._shared(iter(jobs))
        except BrokenExecutor as error:
            raise EngineError("A worker process died (killed, or out of memory): give fewer --workers.") from error

    def _shared(self, jobs: Iterator[Job[T]]) -> Iterator[T]:
        assert self._pool is not None
        coming: deque[Future[tuple[T, Cost]]] = deque()
        while True:
            with deaf():
                for job in islice(jobs, self._ahead - len(coming)):
                    coming.append(self._pool.submit(_work, job))
            if not coming:
                return
            yield self._counted(*coming.popleft().result())

    def _counted(self, result: T, cost: Cost) -> T:
        self.cost += cost
        return result

    def __enter__(self) -> Crew[T]:
        return self

    def __exit__(self, *_: object) -> None:
        if self._engine is not None:
            self._engine.close()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


_mine: list[Deviations] = []


def _initialise(folder: Path) -> None:
    obey()
    _mine[:] = [Deviations(folder)]


def _work(job: Job[T]) -> tuple[T, Cost]:
    return _do(_mine[0], job)


def _do(engine: Deviations, job: Job[T]) -> tuple[T, Cost]:
    before = engine.cost
    result = job.run(engine)
    after = engine.cost
    rows = after.image_inferences - before.image_inferences
    return result, Cost(rows, after.equivalent_inferences - before.equivalent_inferences)
