"""Jobs in several processes of this machine, which leave ^C to their parent and end when it does."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any, TypeVar

from onnxfi.errors import EngineError

Given = TypeVar("Given")
Job = TypeVar("Job")
Result = TypeVar("Result")

DIED = "A worker process died (killed, or out of memory)"

_at_hand: list[Any] = []  # of a worker: what every job of its pool works with


def scatter(
    work: Callable[[Given, Job], Result], given: Given, jobs: Sequence[Job], workers: int
) -> Iterator[tuple[int, Result]]:
    """(number of the job, `work(given, job)`) as they are done: here, or in `workers` processes that get `given` once.

    Everything must be picklable. Raises EngineError where a process died, and what `work` raises. Left early, by ^C or
    by an error, the processes are gone at once.
    """
    if workers == 1:
        for number, job in enumerate(jobs):
            yield number, work(given, job)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(jobs)), context, _start, (given,))
    try:
        with deaf():
            flying = {pool.submit(_do, work, job): number for number, job in enumerate(jobs)}
        for future in as_completed(flying):
            yield flying[future], future.result()
        pool.shutdown()
    except BrokenExecutor as error:
        raise EngineError(f"{DIED}; run the same command again, with fewer workers or less memory.") from error
    finally:
        kill(pool)


def kill(pool: ProcessPoolExecutor) -> None:
    """End a pool's processes now; a running job would be waited for. Python 3.14 has kill_workers() for this."""
    for process in list((pool._processes or {}).values()):
        process.kill()
    pool.shutdown(wait=True)


def obey() -> None:
    """At the start of a pool's process: ^C is the parent's, and a process whose parent was killed ends itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


@contextmanager
def deaf() -> Iterator[None]:
    """Processes started in here are born with ^C blocked: before `obey` they would die of it with a traceback.

    Nor do they run the script again that called onnxfi, as spawned processes do: nothing that they are given is
    defined there, and a script that does not guard its lines by `if __name__ == "__main__"` would kill them.
    """
    with _no_script(), _blocked():
        yield


@contextmanager
def _no_script() -> Iterator[None]:
    main = sys.modules["__main__"]
    kept: dict[str, Any] = {name: vars(main)[name] for name in ("__file__", "__spec__") if name in vars(main)}
    vars(main).pop("__file__", None)
    main.__spec__ = None
    try:
        yield
    finally:
        vars(main).update(kept)


@contextmanager
def _blocked() -> Iterator[None]:
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(given: Any) -> None:
    obey()
    _at_hand[:] = [given]


def _do(work: Callable[[Any, Job], Result], job: Job) -> Result:
    return work(_at_hand[0], job)


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)
