"""Running units in one process: what a worker is given, and what it keeps.

A worker may be the process itself, one of a pool, or one on another machine of which nothing is known but that it can
import onnxfi. So a task is small, `(key, unit)`; the context, which may be large, travels only to a worker that answers
`Need`.
"""

from __future__ import annotations

import atexit
import os
import socket
import threading
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from onnxfi.errors import EngineError
from onnxfi.study.result import Cost, Result
from onnxfi.study.units import Unit


class Engine(Protocol):
    """Trials in, records out, and a count of what it took since it was opened, preparation included."""

    @property
    def image_inferences(self) -> int: ...

    @property
    def equivalent_inferences(self) -> float: ...

    def run(self, trials: NDArray[Any]) -> NDArray[Any]:
        """One record each of faults.space.TRIAL[trials], in the same order, with its `fault`."""
        ...

    def close(self) -> None: ...


class Source(Protocol):
    """How a process comes by its engine; picklable."""

    def open(self) -> Engine:
        """Raises EngineError where the engine here would not answer as the one that the study began with."""
        ...


class Asks(Protocol):
    """What a study asks of an engine; picklable."""

    def trials(self, unit: Unit) -> NDArray[Any]:
        """faults.space.TRIAL[trials] of a unit."""
        ...

    def describe(self, trial: Any) -> str:
        """One TRIAL in words, for messages."""
        ...


@dataclass(frozen=True)
class Context:
    """Everything that a process needs for the units of one study; picklable. Equal keys mean equal answers."""

    key: str
    question: Asks
    source: Source


@dataclass(frozen=True)
class Need:
    """A worker's answer when it does not know the context of a task."""

    worker: str


class Bench:
    """One engine and the question it is asked. It is opened at the first unit, and costs are counted from there."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._engine: Engine | None = None
        self._spent = Cost()

    def run(self, unit: Unit) -> Result:
        """The unit's result; EngineError says which fault, where, and on which worker it failed."""
        trials = self.context.question.trials(unit)
        if self._engine is None:
            self._engine = self._open()
        try:
            records = self._engine.run(trials)
        except Exception as error:
            raise EngineError(f"{self._place(trials, error)} failed on {worker()}: {_said(error)}") from error
        if len(records) != len(trials) or (records["fault"] != trials["fault"]).any():
            raise EngineError(f"The engine on {worker()} answered other trials than it was asked.")
        before = self._spent
        self._spent = Cost(self._engine.image_inferences, self._engine.equivalent_inferences)
        cost = Cost(
            self._spent.image_inferences - before.image_inferences,
            self._spent.equivalent_inferences - before.equivalent_inferences,
        )
        return Result(unit, records, cost)

    def close(self) -> None:
        """Let go of the engine."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _open(self) -> Engine:
        try:
            return self.context.source.open()
        except Exception as error:
            raise EngineError(f"The engine did not start on {worker()}: {_said(error)}") from error

    def _place(self, trials: NDArray[Any], error: Exception) -> str:
        """The trial that fails, found by halving: a batch of hundreds fails as one."""
        describe, engine = self.context.question.describe, self._engine
        assert engine is not None
        left = trials
        while len(left) > 1 and not isinstance(error, EngineError | MemoryError):
            half = left[: len(left) // 2]
            left = half if _fails(engine, half) else left[len(half) :]
        if len(left) == 1 and (len(trials) == 1 or _fails(engine, left)):
            return describe(left[0]).capitalize()
        return f"A unit of {len(trials)} trials, from {describe(trials[0])} to {describe(trials[-1])},"


def _fails(engine: Engine, trials: NDArray[Any]) -> bool:
    try:
        engine.run(trials)
    except Exception:
        return True
    return False


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, EngineError) else f"{type(error).__name__}: {error}"


def worker() -> str:
    """This process's name in messages: host and process id."""
    return f"{socket.gethostname()}, process {os.getpid()}"


_turn = threading.Lock()  # one engine a process, whatever the number of threads that the executor runs
_bench: Bench | None = None


def install(context: Context) -> None:
    """Let this process answer the tasks of a context, and of no other."""
    global _bench
    if _bench is None or _bench.context.key != context.key:
        if _bench is not None:
            _bench.close()
        _bench = Bench(context)


@atexit.register
def _leave() -> None:
    """A cluster's worker that ends takes what it had made for its engine with it."""
    if _bench is not None:
        _bench.close()


def work(key: str, unit: Unit, context: Context | None = None, attempt: int = 0) -> Result | Need:
    """The task that executors are given. `attempt` makes it another task each time, for those that remember answers."""
    with _turn:
        if context is not None:
            install(context)
        if _bench is None or _bench.context.key != key:
            return Need(worker())
        return _bench.run(unit)
