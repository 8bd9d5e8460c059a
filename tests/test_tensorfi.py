"""The three settings as TensorFI+ draws them: the draw, its caps, and counts by hand."""

from __future__ import annotations

import json
import multiprocessing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxfi import Data, DataError, Machine, Precision, StudyError, Target, analyze
from onnxfi.bundled import data_path
from onnxfi.faults.space import FaultSpace, Region
from onnxfi.metrics.safety import load_groups
from onnxfi.study.tensorfi import CAPS, FILE, TRIALS, Drawing, Drawn, draw

BITS = tuple(range(31, -1, -1))
SPACE = FaultSpace(
    [Region("activations", "input", 0, name, size, "float32", BITS) for name, size in (("a", 10), ("b", 990))]
)


def test_layers_are_uniform_and_images_capped() -> None:
    pool = np.arange(100, 1100)
    trials = draw(SPACE, pool, 5, 3000, seed=1, stream=0)
    assert len(trials) == 3000
    # Layers uniform whatever their sizes: 1,500 each, and five standard deviations (27) of that.
    assert abs(np.count_nonzero(trials["region"] == 0) - 1500) < 140
    images, counts = np.unique(trials["image"], return_counts=True)
    assert counts.max() <= 5 and set(images) <= set(pool)
    bits = np.bincount(SPACE.locate(trials["fault"])[2], minlength=32)
    assert bits.min() > 50  # about 94 each
    assert (draw(SPACE, pool, 5, 3000, seed=1, stream=0) == trials).all()
    assert (draw(SPACE, pool, 5, 3000, seed=2, stream=0) != trials).any()


def test_few_images_get_no_more_than_their_cap() -> None:
    trials = draw(SPACE, np.array([3, 8]), 30, 3000, seed=1, stream=0)
    assert np.bincount(trials["image"]).tolist() == [0, 0, 0, 30, 0, 0, 0, 0, 30]


def test_caps_and_size_are_the_published_ones() -> None:
    assert TRIALS == 3000
    assert CAPS == {"correct": 5, "wrong": 30, "wrong_scm": 30, "wrong_non_scm": 30}


def test_rates_of_a_setting_by_hand() -> None:
    setting = Drawn("correct", 900, 3000, 45, 16, 28).setting(0.95, 1000)
    assert setting.sdc.value == pytest.approx(0.015)
    assert setting.scm.value == pytest.approx(16 / 3000)
    assert setting.share is not None and setting.share.value == pytest.approx(16 / 44)
    assert setting.share.trials == 44 and setting.share.low < 16 / 44 < setting.share.high
    assert Drawn("correct", 900, 3000, 2, 0, 0).setting(0.95, 1000).share is None


def _groups(path: Path) -> Path:
    """Ten classes of the bundled images, the first half in A."""
    groups = [
        {"name": str(number), "supergroup": "A" if number < 5 else "B", "classes": [number]} for number in range(10)
    ]
    names = [str(number) for number in range(10)]
    whole = {"format": "onnxfi-groups-1", "name": "ten", "source": "this test", "classes": names, "groups": groups}
    path.write_text(json.dumps(whole))
    return path


def test_it_is_added_to_a_study(tmp_path: Path) -> None:
    asked = {
        "data": Data((data_path(),), images=100),
        "target": Target(kind="weights", layers=("linear",)),
        "precision": Precision(budget=300),
        "machine": Machine(workers=1),
    }
    with pytest.raises(DataError, match="give --groups"):
        analyze(**asked, out=tmp_path / "bare", tensorfi=True)  # type: ignore[arg-type]
    run = analyze(**asked, out=tmp_path / "run", groups=_groups(tmp_path / "g.json"), tensorfi=True)  # type: ignore[arg-type]
    summary = json.loads((run.folder / "summary.json").read_text())
    found = {entry["setting"]: entry for entry in summary["tensorfi"]["settings"]}
    golden = summary["golden_accuracy"]["top1"]
    assert found["correct"]["images"] == round(100 * golden)
    assert found["correct"]["sdc"]["trials"] == 5 * found["correct"]["images"]  # the cap
    assert 0 < found["correct"]["sdc"]["value"] < 0.2
    # Every class is a group of its own: a change is SCM if and only if the golden class is one of the first five.
    assert found["correct"]["share"]["trials"] <= round(
        found["correct"]["sdc"]["value"] * found["correct"]["sdc"]["trials"]
    )
    assert "TensorFI+" in (run.folder / "report.html").read_text()


ASKED: dict[str, Any] = {
    "data": Data((data_path(),), images=20),
    "target": Target(kind="weights", layers=("linear",)),
    "precision": Precision(budget=100),
    "tensorfi": True,
}


def test_any_number_of_workers_gives_the_same_and_tells_how_far_it_is(tmp_path: Path) -> None:
    groups, said = _groups(tmp_path / "g.json"), list[Drawing]()
    for workers in (1, 2):
        run = partial(analyze, **ASKED, machine=Machine(workers=workers), out=tmp_path / str(workers), groups=groups)
        run(progress=lambda step: said.append(step) if isinstance(step, Drawing) else None)
    assert (tmp_path / "1" / FILE).read_bytes() == (tmp_path / "2" / FILE).read_bytes()
    assert [step.done for step in said[:1]] == [0] and said[0].left is None
    half = said[: len(said) // 2]
    assert len(half) >= 8 and half[-1].done == half[-1].trials and half[-1].left == 0
    assert sorted(step.done for step in half) == [step.done for step in half]


def test_time_left_by_hand() -> None:
    assert Drawing(250, 1000, 5.0).left == 15.0


@pytest.mark.parametrize("workers", [1, 2])
def test_stopped_it_leaves_the_study_and_nothing_else(tmp_path: Path, workers: int) -> None:
    def stop(step: object) -> None:
        if isinstance(step, Drawing) and step.done:
            raise KeyboardInterrupt

    groups, out = _groups(tmp_path / "g.json"), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        analyze(**ASKED, machine=Machine(workers=workers), out=out, groups=groups, progress=stop)
    assert not multiprocessing.active_children()
    assert {path.name for path in out.iterdir()} <= {"study.json", "journal.sqlite", "journal.lock"}


def test_groups_of_other_classes_are_refused(tmp_path: Path) -> None:
    assert len(load_groups("gtsrb").classes) == 43
    with pytest.raises(DataError, match="43 classes, but the model has 10 outputs"):
        analyze(data=Data((data_path(),), images=20), out=tmp_path / "run", groups="gtsrb")
    assert not (tmp_path / "run").exists()  # before the first trial


def test_rates_of_upsets_that_are_none_are_refused_at_once(tmp_path: Path) -> None:
    images, out = Data((data_path(),), images=20), tmp_path / "run"
    with pytest.raises(StudyError, match="give a rate"):
        analyze(data=images, out=out, fit_per_mbit=-1.0)
    with pytest.raises(StudyError, match="stuck-at-0 faults"):
        analyze(data=images, target=Target(fault_model="stuck-at-0"), out=out, fit_per_mbit=1.0)
    assert not out.exists()
