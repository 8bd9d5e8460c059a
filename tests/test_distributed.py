"""A study on a Dask cluster: a real scheduler and two workers, in processes of their own."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import listed_nets
import pytest
from test_workers import EXPECTED, PATH, context, failing_fault, some_units, table

from onnxfi import Data, Machine
from onnxfi.api import faults
from onnxfi.errors import EngineError
from onnxfi.study import blocks, workers

distributed = pytest.importorskip("distributed", reason="needs the extra [distributed]")


@dataclass
class Cluster:
    address: str
    workers: list[subprocess.Popen[bytes]]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A scheduler with two workers of one thread each."""
    file = tmp_path / "scheduler.json"

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dask", *arguments, "--scheduler-file", str(file), "--no-dashboard"]
        return subprocess.Popen(command, env=PATH, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    started = [start("scheduler", "--port", "0")]
    started += [start("worker", "--nthreads", "1", "--no-nanny", "--death-timeout", "60") for _ in range(2)]
    try:
        yield Cluster(wait_for(file), started[1:])
    finally:
        for process in reversed(started):
            process.kill()
        for process in reversed(started):
            process.wait(timeout=20)


def wait_for(file: Path) -> str:
    """The address of the scheduler that writes this file, once two workers are there."""
    deadline = time.monotonic() + 60
    while not file.exists():
        assert time.monotonic() < deadline, "the scheduler did not start"
        time.sleep(0.05)
    with distributed.Client(scheduler_file=str(file), set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
        return str(client.scheduler.address)


def test_two_workers_that_know_nothing_equal_one_process(cluster: Cluster, tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    opened.mkdir()
    with workers.dask(cluster.address, context("on dask", delay=0.05, touch=opened)) as runner:
        assert table(runner.run(some_units())) == EXPECTED
        assert table(runner.run(some_units())) == EXPECTED  # asked again, it is run again; they know the context now
    assert {int(path.name) for path in opened.iterdir()} == {worker.pid for worker in cluster.workers}


def test_a_worker_that_dies_is_done_without(cluster: Cluster) -> None:
    with workers.dask(cluster.address, context("one dies", delay=0.05)) as runner:
        results = runner.run(some_units())
        first = next(results)
        cluster.workers[0].kill()
        assert table(itertools.chain([first], results)) == EXPECTED


def test_an_error_on_a_worker_comes_home(cluster: Cluster) -> None:
    _, fault = failing_fault()
    said = rf"Fault {fault} \(.* failed on .*, process \d+: RuntimeError: a kernel failed"
    with pytest.raises(EngineError, match=said), workers.dask(cluster.address, context("bad", broken=fault)) as runner:
        list(runner.run(some_units()))


def test_nobody_at_the_address_is_said() -> None:
    with pytest.raises(EngineError, match=r"No Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        workers.dask("tcp://127.0.0.1:9", context(), timeout=0.2)


def test_a_fault_list_on_a_cluster_gives_the_same_counts(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "MOST", 7)  # two blocks: the workers come by another context in between
    model, images = listed_nets.pytorch(tmp_path / "net.onnx"), listed_nets.images(tmp_path / "images.npz")
    drawn = faults.draw(model, faults.Draw(margin=0.2), out=tmp_path / "list.csv")
    one, many = (
        faults.run(tmp_path / "list.csv", model, data=Data((images,)), machine=machine, out=tmp_path / name)
        for name, machine in (
            ("one", Machine(exact=True, workers=1)),
            ("many", Machine(exact=True, scheduler=cluster.address)),
        )
    )
    assert len(drawn.entries) == many.faults and many.complete
    assert many.listed == one.listed
