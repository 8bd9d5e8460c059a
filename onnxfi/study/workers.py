"""Running units on anything that is a concurrent.futures.Executor: this process, a pool of processes, a cluster.

There is no scheduler of our own. Results come in any order, and no number depends on it.
"""

from __future__ import annotations

import itertools
import multiprocessing
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from onnxfi.errors import EngineError
from onnxfi.study.bench import Bench, Context, Need, install, work
from onnxfi.study.pool import DIED, deaf, kill, obey
from onnxfi.study.result import Result
from onnxfi.study.settings import Machine
from onnxfi.study.units import Unit

P = ParamSpec("P")
T = TypeVar("T")

_AHEAD = 2  # tasks in flight for each worker: one that runs, one that waits, so that nobody idles between two
_BLINK = 0.5  # seconds; how often a wait looks up, for ^C on systems that would not interrupt it


class Serial(Executor):
    """Runs what is submitted at once, here. A KeyboardInterrupt goes straight through."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class Runner:
    """Units in, results out. A context manager: on leaving, workers are let go; after an error or ^C, at once.

    submit(unit, carry): hands a unit to the executor, with the context when `carry`. width(): how many may be in
    flight. close(hurry): lets go of the executor. cancel: whether tasks in flight are to be taken back one by one when
    a run ends early; a pool's end with its processes.
    """

    def __init__(
        self,
        submit: Callable[[Unit, bool], Future[Result | Need]],
        width: Callable[[], int],
        close: Callable[[bool], None],
        cancel: bool = False,
    ) -> None:
        self._submit, self._width, self._close, self._cancel = submit, width, close, cancel

    def run(self, units: Iterable[Unit]) -> Iterator[Result]:
        """Results as they come. At most `width()` units are in flight, so `units` may be as long as it likes.

        Raises EngineError where a unit failed or a worker died; the rest is cancelled.
        """
        waiting, flying = iter(units), dict[Future[Result | Need], Unit]()
        try:
            while True:
                for unit in itertools.islice(waiting, max(0, self._width() - len(flying))):
                    flying[self._submit(unit, False)] = unit
                if not flying:
                    return
                done, _ = wait(flying, timeout=_BLINK, return_when=FIRST_COMPLETED)
                for future in sorted(done, key=lambda future: flying[future].index):
                    unit = flying.pop(future)
                    answer = _answer(future)
                    if isinstance(answer, Need):
                        flying[self._submit(unit, True)] = unit
                    else:
                        yield answer
        finally:
            for future in flying if self._cancel else ():
                future.cancel()

    def __enter__(self) -> Runner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close(kind is not None)


def runner_for(machine: Machine, context: Context, workers: int) -> Runner:
    """Where `machine` has units run: on a Dask cluster, in processes of this machine, or in this process."""
    if machine.scheduler is not None:
        return dask(machine.scheduler, context)
    return serial(context) if workers == 1 else processes(context, workers)


def serial(context: Context) -> Runner:
    """Units run in this process, one after the other."""
    bench, executor = Bench(context), Serial()

    def submit(unit: Unit, carry: bool) -> Future[Result | Need]:
        return executor.submit(bench.run, unit)

    return Runner(submit, lambda: 1, lambda hurry: bench.close())


def processes(context: Context, workers: int) -> Runner:
    """Units run in `workers` processes of this machine, started by spawn: they inherit no state, random or other."""
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initialise, (context,))

    def submit(unit: Unit, carry: bool) -> Future[Result | Need]:
        try:
            with deaf():
                return pool.submit(work, context.key, unit)
        except BrokenExecutor as error:
            raise EngineError(_DIED) from error

    def close(hurry: bool) -> None:
        if hurry:
            kill(pool)
        else:
            pool.shutdown(wait=True, cancel_futures=True)

    return Runner(submit, lambda: _AHEAD * workers, close)


def through(executor: Executor, context: Context, width: Callable[[], int], close: Callable[[bool], None]) -> Runner:
    """Units run on any executor. Its workers need onnxfi installed; the context is sent to those that lack it."""
    attempts = itertools.count()

    def submit(unit: Unit, carry: bool) -> Future[Result | Need]:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sending large graph")  # Dask, of a context: it is sent once a worker
            return executor.submit(work, context.key, unit, context if carry else None, next(attempts))

    return Runner(submit, width, close, cancel=True)


def dask(address: str, context: Context, timeout: float = 10.0) -> Runner:
    """Units run on the workers of a Dask cluster, those that join later too. A worker that dies is Dask's to replace.

    address: of its scheduler, tcp://host:port. timeout: seconds that it has to answer.
    Raises EngineError where nobody answers there, or the extra [distributed] is not installed.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise EngineError("A scheduler needs Dask: pip install 'onnxfi[distributed]'.") from error
    try:
        connect: Any = Client  # it has no types
        client = connect(address, timeout=timeout, set_as_default=False)
    except (OSError, ValueError) as error:
        raise EngineError(f"No Dask scheduler answers at {address}; start one with `dask scheduler`.") from error

    def width() -> int:
        return _AHEAD * max(1, sum(int(threads) for threads in client.nthreads().values()))

    return through(client.get_executor(pure=False), context, width, lambda hurry: client.close())


_DIED = f"{DIED}; what was done is kept: run the same command again, with fewer workers or less memory."


def _answer(future: Future[Result | Need]) -> Result | Need:
    """What a task gave; EngineError where the task failed or its worker is gone."""
    try:
        return future.result()
    except EngineError:
        raise
    except BrokenExecutor as error:
        raise EngineError(_DIED) from error
    except CancelledError as error:
        raise EngineError(
            "The executor dropped its tasks; what was done is kept: run the same command again."
        ) from error
    except Exception as error:
        raise EngineError(f"A worker is lost or cannot run onnxfi ({type(error).__name__}: {error}).") from error


def initialise(context: Context) -> None:
    """Start of a pool's process."""
    obey()
    install(context)
