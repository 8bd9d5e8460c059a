"""The journal: what is written is there, whole; what is not a journal of this study is refused and left untouched."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from journals import IDENTITY, begun, contents, result

from onnxfi.errors import StudyError
from onnxfi.study.journal import Journal
from onnxfi.study.result import Cost, Result


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return begun(tmp_path / "study")


def test_written_is_there(study: Path) -> None:
    with Journal.read(study) as journal:
        assert journal.identity == IDENTITY
        assert journal.about == {"model": "net.onnx"}
        assert [round_.tolist() for round_ in journal.rounds()] == [[30, 20]]
        results = list(journal.results())
        assert [one.unit.index for one in results] == [0, 1, 2]
        for one in results:
            expected = result(one.unit.index, 20, 7)
            assert one.unit == expected.unit and one.cost == expected.cost
            assert one.records.tobytes() == expected.records.tobytes()
        assert journal.unit(0, 1) == result(1, 20, 7).unit
        assert journal.unit(0, 3) is None
        assert journal.unit(1, 0) is None
        # 4 of the preparation and 27 of each unit; 4 and 13.5; 1.5 and 0.25.
        assert journal.cost() == Cost(85, 44.5, 2.25)


def test_counts_are_those_of_the_records(study: Path) -> None:
    records = np.stack([result(index, 20, 7).records for index in range(3)])
    with Journal.read(study) as journal:
        counts = journal.counts(0, 3)
    assert counts[:, 0].tolist() == [60, 21, 0]  # 3 units with 20 and 7 draws; the third stratum was not drawn from
    for stratum, part in enumerate((records[:, :20], records[:, 20:])):
        assert counts[stratum, 1:4].tolist() == [int((part["outcome"] == kind).sum()) for kind in (0, 1, 2)]
        assert counts[stratum, 4] == (part["finite"] == 0).sum()
        assert counts[stratum, 4] > 0


def test_a_crossed_unit_counts_draws_and_trials(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "study", IDENTITY) as journal:
        journal.plan(0, np.array([3, 2]))
        journal.add(result(0, 3, 2, each=8))
        counts = journal.counts(0, 2)
    assert counts[:, 0].tolist() == [3, 2]
    assert counts[:, 1:4].sum(axis=1).tolist() == [24, 16]


def test_opening_again_changes_nothing(study: Path) -> None:
    before = contents(study)
    with Journal.open(study, IDENTITY, {"model": "moved.onnx"}) as journal:
        assert len(journal.rounds()) == 1
    assert contents(study) == before


def test_identity_is_a_hash_of_text_for_people(study: Path) -> None:
    whole = json.loads((study / "study.json").read_text())
    assert whole["study"] == IDENTITY.id
    assert whole["identity"]["seed"] == 1
    again = dataclasses.replace(IDENTITY, data={"steps": ["1/255"], "sha256": "cd" * 32, "images": 4})
    assert again.id == IDENTITY.id  # the order of keys says nothing


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 2}, "seed is 1 there and 2 here"),
        ({"arithmetic": "exact"}, 'arithmetic is "fast" there and "exact" here'),
        ({"data": {"images": 4, "sha256": "cd" * 32, "steps": []}}, 'data.steps is ["1/255"] there and [] here'),
        ({"space": {"fault_model": "bit-flip", "regions": []}}, "space.regions is "),
        ({"plan": {"kind": "adaptive", "e": 0.1}}, "plan.e is absent there and 0.1 here"),
    ],
)
def test_another_study_is_refused_with_the_field(study: Path, change: dict[str, object], said: str) -> None:
    before = contents(study)
    with pytest.raises(StudyError, match="holds another study") as caught:
        Journal.open(study, dataclasses.replace(IDENTITY, **change))  # type: ignore[arg-type]
    assert said in str(caught.value) and str(study) in str(caught.value)
    assert contents(study) == before


def test_a_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("dear reader")
    with pytest.raises(StudyError, match=r"holds other things \(thesis\.tex\); give an empty or a new folder"):
        Journal.open(tmp_path, IDENTITY)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study").write_text("")
    with pytest.raises(StudyError, match="is a file; give a folder"):
        Journal.open(tmp_path / "study", IDENTITY)
    with pytest.raises(StudyError, match=r"is not a study: it has no study\.json"):
        Journal.read(tmp_path / "nowhere")


def test_one_writer_and_any_reader(study: Path) -> None:
    with Journal.open(study, IDENTITY) as journal:
        with pytest.raises(StudyError, match="is being written by another process"):
            Journal.open(study, IDENTITY)
        other = "import sys; from test_journal import *; Journal.open(sys.argv[1], IDENTITY)"
        ended = subprocess.run(
            [sys.executable, "-c", other, str(study)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
        )
        assert f"{study} is being written by another process" in ended.stderr
        with Journal.read(study) as reader:
            journal.add(result(3, 20, 7))
            assert reader.counts(0, 2)[:, 0].tolist() == [80, 28]
    with Journal.open(study, IDENTITY) as journal:  # and the lock is gone with its holder
        journal.add(result(4, 20, 7))


def test_a_transaction_that_fails_leaves_nothing(study: Path) -> None:
    with Journal.open(study, IDENTITY) as journal:
        before = [one.unit.index for one in journal.results()]

        def results() -> Iterator[Result]:
            yield result(3, 20, 7)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            journal.add_all(results())
        assert [one.unit.index for one in journal.results()] == before
        journal.add(result(3, 20, 7))
