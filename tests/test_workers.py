"""Runners: whatever runs the units, the results are the same; what goes wrong is said and ends the run."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fake_engine
import numpy as np
import pytest

from onnxfi.errors import EngineError
from onnxfi.study import bench, workers
from onnxfi.study.bench import Context, Need
from onnxfi.study.question import Question
from onnxfi.study.result import Result
from onnxfi.study.units import Unit

SPACE = fake_engine.space()
QUESTION = Question(SPACE, SPACE.strata(), images=5, seed=3)
PATH = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def context(key: str = "a study", **options: Any) -> Context:
    return Context(key, QUESTION, fake_engine.FakeSource(**options))


def some_units(draws: int = 40) -> list[Unit]:
    """Units of a round that takes `draws` of each stratum."""
    many = np.full(len(QUESTION.strata), draws)
    return list(QUESTION.units(0, many, np.zeros_like(many)))


def table(results: Iterator[Result]) -> dict[int, bytes]:
    return {result.unit.index: result.records.tobytes() for result in results}


EXPECTED = {unit.index: fake_engine.records(QUESTION.trials(unit)).tobytes() for unit in some_units()}


def test_serial_gives_every_unit_in_order_with_its_cost() -> None:
    with workers.serial(context()) as runner:
        results = list(runner.run(some_units()))
    assert [result.unit for result in results] == some_units()
    assert table(iter(results)) == EXPECTED
    # The first unit of an engine bears what opening it took: 10 inferences, says the fake.
    assert [result.cost.image_inferences - len(result.records) for result in results][:2] == [10, 0]
    assert results[1].cost.equivalent_inferences == len(results[1].records) / 2


def test_two_processes_equal_one(tmp_path: Path) -> None:
    # The delay lets both of them have some.
    with workers.processes(context(delay=0.05, touch=tmp_path), 2) as runner:
        assert table(runner.run(some_units())) == EXPECTED
    assert len(list(tmp_path.iterdir())) == 2
    assert str(os.getpid()) not in {path.name for path in tmp_path.iterdir()}


def test_a_task_is_small_and_the_context_travels_once_to_who_needs_it() -> None:
    sizes: list[int] = []

    class Counting(ThreadPoolExecutor):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            sizes.append(len(pickle.dumps((fn, args))))
            return super().submit(fn, *args, **kwargs)

    with Counting(1) as pool:
        for key in ("first", "second", "first"):
            sizes.clear()
            runner = workers.through(pool, context(key), lambda: 1, lambda hurry: None)
            assert table(runner.run(some_units())) == EXPECTED
            small = [size for size in sizes if size < 1000]
            assert len(small) == len(some_units())  # each unit once without the context ...
            assert len(sizes) == len(small) + 1  # ... and one of them again with it


def test_units_are_taken_as_they_are_needed() -> None:
    taken = []

    def endless() -> Iterator[Unit]:
        for index in range(10**9):
            taken.append(index)
            yield Unit(0, index, some_units()[0].pieces)

    with ThreadPoolExecutor(2) as pool:
        runner = workers.through(pool, context(), lambda: 4, lambda hurry: None)
        results = runner.run(endless())
        for _ in range(20):
            next(results)
        results.close()  # type: ignore[attr-defined]
    assert len(taken) <= 20 + 2 * 4


def failing_fault() -> tuple[Unit, int]:
    unit = some_units()[1]
    return unit, int(QUESTION.trials(unit)["fault"][17])


def test_an_error_says_which_fault() -> None:
    unit, fault = failing_fault()
    region, site, bit = (int(part[0]) for part in SPACE.locate(np.array([fault])))
    with workers.serial(context(broken=fault)) as runner, pytest.raises(EngineError) as caught:
        list(runner.run([unit]))
    home = SPACE.regions[region]
    assert f"Fault {fault} ({home.target} of layer {home.layer}, {home.tensor!r}, site {site}, bit {bit})" in str(
        caught.value
    )
    assert f"process {os.getpid()}: RuntimeError: a kernel failed" in str(caught.value)


def test_an_error_in_a_process_comes_home_and_ends_the_run() -> None:
    _, fault = failing_fault()
    said = rf"Fault {fault} \(.* failed on .*: RuntimeError: a kernel failed"
    with pytest.raises(EngineError, match=said), workers.processes(context(broken=fault), 2) as runner:
        list(runner.run(some_units()))


def test_an_engine_that_answers_other_trials_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_engine.FakeEngine, "run", lambda self, trials: fake_engine.records(trials[:-1]))
    with workers.serial(context()) as runner, pytest.raises(EngineError, match="answered other trials"):
        list(runner.run(some_units()))


def test_an_engine_that_does_not_start_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: fake_engine.FakeSource) -> fake_engine.FakeEngine:
        raise EngineError("golden classes differ from the study's")

    monkeypatch.setattr(fake_engine.FakeSource, "open", refuse)
    with workers.serial(context()) as runner, pytest.raises(EngineError) as caught:
        list(runner.run(some_units()))
    assert str(caught.value) == f"The engine did not start on {bench.worker()}: golden classes differ from the study's"


def test_a_killed_worker_is_said() -> None:
    _, fault = failing_fault()
    with (
        pytest.raises(EngineError, match="A worker process died"),
        workers.processes(context(deadly=fault), 2) as runner,
    ):
        list(runner.run(some_units()))


def test_an_executor_that_drops_tasks_is_said() -> None:
    class Dropping(Executor):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.set_exception(CancelledError())
            return future

    runner = workers.through(Dropping(), context(), lambda: 1, lambda hurry: None)
    with pytest.raises(EngineError, match="dropped its tasks"):
        list(runner.run(some_units()))


def test_a_worker_without_the_context_says_so() -> None:
    answer = bench.work("nobody's", some_units()[0])
    assert isinstance(answer, Need) and answer.worker == bench.worker()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are watched through /proc")
def test_workers_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    """kill -9 of the parent: nobody tells the workers of a pool, they would wait for tasks for ever."""
    parent = subprocess.Popen([sys.executable, __file__, str(tmp_path)], env=PATH)
    workers_ = wait_for(lambda: [int(path.name) for path in tmp_path.iterdir()], 2)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 20
    while any(alive(worker) for worker in workers_) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [worker for worker in workers_ if alive(worker)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="signals as POSIX has them")
def test_interrupt_ends_a_pool_at_once(tmp_path: Path) -> None:
    """^C goes to the whole group, as a terminal sends it: the parent says so, the workers are silent and gone."""
    parent = subprocess.Popen(
        [sys.executable, __file__, str(tmp_path)], env=PATH, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    workers_ = wait_for(lambda: [int(path.name) for path in tmp_path.iterdir()], 2)
    os.killpg(parent.pid, signal.SIGINT)
    _, said = parent.communicate(timeout=20)
    assert parent.returncode == 130
    assert said == ""
    assert not [worker for worker in workers_ if alive(worker)]


def wait_for(look: Callable[[], list[int]], many: int) -> list[int]:
    deadline = time.monotonic() + 60
    while len(look()) < many:
        assert time.monotonic() < deadline, "the workers did not start"
        time.sleep(0.02)
    return look()


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


if __name__ == "__main__":  # the parent of the two tests above: two workers, at it for an hour
    try:
        with workers.processes(context(delay=3600, touch=Path(sys.argv[1])), 2) as runner:
            list(runner.run(some_units()))
    except KeyboardInterrupt:
        sys.exit(130)
