"""A study end to end on the bundled model: the same numbers however it is run, and what it refuses."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from corpus import CASES

import onnxfi
from onnxfi.bundled import data_path
from onnxfi.study.conduct import Snapshot

# What tells how a study was run, and not what it found.
COSTS = {"image_inferences", "equivalent_inferences", "seconds", "trials_per_second", "settings"}
TARGET = onnxfi.Target(layers=("conv1", "layer3.0.conv2", "linear"))


def analyze(out: Path, **changes: Any) -> onnxfi.Run:
    """900 trials on three layers and 20 images."""
    settings: dict[str, Any] = {
        "data": onnxfi.Data(images=20),
        "target": TARGET,
        "precision": onnxfi.Precision(budget=900),
        "machine": onnxfi.Machine(workers=1),
    }
    return onnxfi.analyze(out=out, **(settings | changes))


def found(folder: Path) -> dict[str, Any]:
    """summary.json without what it cost."""
    whole = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return {name: value for name, value in whole.items() if name not in COSTS}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return analyze(tmp_path_factory.mktemp("whole") / "run").folder


def test_it_can_be_asked_again(whole: Path, tmp_path: Path) -> None:
    assert found(analyze(tmp_path / "run").folder) == found(whole)


def test_another_seed_is_another_sample(whole: Path, tmp_path: Path) -> None:
    other = found(analyze(tmp_path / "run", plan=onnxfi.Plan(seed=1)).folder)
    assert other["mvf"]["weights"]["value"] != found(whole)["mvf"]["weights"]["value"]


def test_processes_change_nothing(whole: Path, tmp_path: Path) -> None:
    assert found(analyze(tmp_path / "run", machine=onnxfi.Machine(workers=2)).folder) == found(whole)


def test_memory_changes_nothing(whole: Path, tmp_path: Path) -> None:
    little = onnxfi.Machine(workers=1, memory=2**26)
    assert found(analyze(tmp_path / "run", machine=little).folder) == found(whole)


def stop_after(units: int) -> Callable[[Snapshot], None]:
    """As ^C would, at the so many-th piece of work."""
    left = [units]

    def listen(snapshot: Snapshot) -> None:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    return listen


@pytest.mark.parametrize("units", [1, 2, 5, 9])
def test_a_stopped_study_goes_on(units: int, whole: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        analyze(tmp_path / "run", progress=stop_after(units))
    assert not list((tmp_path / "run").glob(".work-*"))
    assert found(analyze(tmp_path / "run").folder) == found(whole)


def test_shards_are_the_whole(tmp_path: Path) -> None:
    plan, fixed = onnxfi.Plan("network", margin=0.1), onnxfi.Precision()
    analyze(tmp_path / "whole", plan=plan, precision=fixed)
    for part in (1, 2, 3):
        analyze(tmp_path / f"part-{part}", plan=replace(plan, shard=(part, 3)), precision=fixed)
    onnxfi.merge([tmp_path / f"part-{part}" for part in (1, 2, 3)], tmp_path / "merged")
    for name in ("layers.csv", "bits.csv", "channels.csv"):
        assert (tmp_path / "merged" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    merged, at_once = found(tmp_path / "merged"), found(tmp_path / "whole")
    assert merged["converged"] and merged["mvf"] == at_once["mvf"] and merged["outcomes"] == at_once["outcomes"]


@pytest.mark.slow
def test_a_cluster_changes_nothing(whole: Path, tmp_path: Path) -> None:
    """Two workers of a real Dask scheduler, each with an engine that it prepared for itself."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        machine = onnxfi.Machine(scheduler=cluster.scheduler_address)
        assert found(analyze(tmp_path / "run", machine=machine).folder) == found(whole)


def test_exact_and_fast_agree_but_for_rounding(whole: Path, tmp_path: Path) -> None:
    exact = found(analyze(tmp_path / "run", machine=onnxfi.Machine(workers=1, exact=True)).folder)
    fast = found(whole)
    assert exact["trials"] == fast["trials"] and exact["golden_accuracy"] == fast["golden_accuracy"]
    for target in ("weights", "activations"):
        assert exact["mvf"][target]["value"] == pytest.approx(fast["mvf"][target]["value"], abs=0.005)


def test_near_chance_is_said_loudly(tmp_path: Path) -> None:
    """The same images under shifted labels: right by accident alone."""
    with np.load(data_path()) as bundled:
        np.savez(tmp_path / "wrong.npz", images=bundled["images"][::5], labels=(bundled["labels"][::5] + 1) % 10)
    run = analyze(tmp_path / "run", data=onnxfi.Data((tmp_path / "wrong.npz",)))
    assert run.summary.golden_accuracy and run.summary.golden_accuracy.near_chance
    assert "near chance" in run.summary.warnings[0]


@pytest.mark.parametrize("parameters", ["weights", "all"])
def test_shared_words_are_warned_of_where_faults_hit_them(parameters: str, tmp_path: Path) -> None:
    """Two BatchNormalizations of this model read the same four initializers."""
    onnx.save(CASES["shared_norm"].build(), tmp_path / "shared.onnx")
    run = onnxfi.analyze(
        tmp_path / "shared.onnx",
        data=onnxfi.Data(synthetic=8),
        target=onnxfi.Target("weights", parameters=parameters),
        precision=onnxfi.Precision(budget=50),
        machine=onnxfi.Machine(workers=1),
        out=tmp_path / "run",
    )
    said = [warning for warning in run.summary.warnings if "stored once and read by 2 nodes" in warning]
    assert len(said) == {"weights": 0, "all": 4}[parameters]


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"images": np.full((4, 28, 28), np.nan, np.float32)}, "images.npz"),
        ({"images": np.zeros((4, 32, 32), np.uint8)}, "--resize 28"),
        ({"images": np.zeros((4, 3, 28, 28), np.uint8)}, "images.npz"),
        ({"images": np.zeros((4, 28, 28), np.uint8), "labels": np.array([0, 1, 10, 2])}, "10"),
        ({"images": np.array([object()] * 4)}, "pickle"),
    ],
    ids=["nan", "size", "channels", "labels", "pickled"],
)
def test_images_that_do_not_fit(arrays: dict[str, np.ndarray], says: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "images.npz", **arrays)
    with pytest.raises(onnxfi.DataError) as raised:
        analyze(tmp_path / "run", data=onnxfi.Data((tmp_path / "images.npz",)))
    assert says in str(raised.value) and "images.npz" in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(onnxfi.StudyError, match="holds other things"):
        analyze(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="space cannot be reserved here")
def test_a_full_disk_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found on a small tmpfs: a memory map that was written on a full disk killed the process (SIGBUS)."""

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(onnxfi.StudyError, match="No space is left to write"):
        analyze(tmp_path / "run")
    assert not list((tmp_path / "run").glob(".work-*"))


def test_a_torn_journal_is_left_alone(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    analyze(folder, precision=onnxfi.Precision(budget=300))
    torn = (folder / "journal.sqlite").read_bytes()[:5000]
    (folder / "journal.sqlite").write_bytes(torn)
    with pytest.raises(onnxfi.StudyError, match=r"journal\.sqlite"):
        analyze(folder)
    assert (folder / "journal.sqlite").read_bytes() == torn
