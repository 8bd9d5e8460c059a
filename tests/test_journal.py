"""The journal: what is written is there, whole; what is not a journal of this study is refused and left untouched."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import fake_engine
import numpy as np
import pytest

from onnxfi.errors import StudyError
from onnxfi.faults.space import TRIAL
from onnxfi.study.identity import Identity
from onnxfi.study.journal import Journal
from onnxfi.study.result import Cost, Result
from onnxfi.study.units import Piece, Unit

IDENTITY = Identity(
    model="ab" * 32,
    data={"images": 4, "sha256": "cd" * 32, "steps": ["1/255"]},
    space={
        "fault_model": "bit-flip",
        "regions": [{"layer": 0, "tensor": "conv0.weight"}, {"layer": 1, "tensor": "fc"}],
    },
    plan={"kind": "adaptive"},
    seed=1,
    criterion="top-1",
    arithmetic="fast",
    provider="CPUExecutionProvider",
    onnxruntime="1.25.0",
)


def result(index: int, *lengths: int, each: int = 1, round_: int = 0) -> Result:
    """A unit with a piece of each length, made-up trials and the fake engine's records."""
    trials = np.zeros(sum(lengths) * each, TRIAL)
    trials["fault"] = np.arange(len(trials)) + 1000 * index
    trials["toggle"] = 1 << 30
    pieces = tuple(Piece(stratum, 10, 10 + length) for stratum, length in enumerate(lengths))
    return Result(Unit(round_, index, pieces), fake_engine.records(trials), Cost(len(trials), len(trials) / 2, 0.25))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A folder with a study of one round and three units."""
    folder = tmp_path / "study"
    with Journal.open(folder, IDENTITY, {"model": "net.onnx"}) as journal:
        journal.plan(0, np.array([30, 20]))
        journal.add_preparation(Cost(4, 4.0, 1.5))
        for index in (2, 0, 1):  # workers end in any order
            journal.add(result(index, 20, 7))
    return folder


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


def torn_cases() -> Iterator[tuple[str, str]]:
    yield from (
        ("half a study.json", r"study\.json is torn"),
        ("an empty study.json", r"study\.json is torn"),
        ("an edited study.json", r"study\.json was changed after it was written"),
        ("another schema", r"study\.json was written by another version of onnxfi \(schema 99, not 1\)"),
        ("no study.json", r"holds a journal\.sqlite but no study\.json"),
        ("half a journal", r"journal\.sqlite is torn"),
        ("no database", r"journal\.sqlite is torn"),
        ("another database", r"journal\.sqlite is not a journal of onnxfi"),
        ("another study's journal", r"journal\.sqlite belongs to another study than the study\.json beside it"),
        ("a flipped bit in the records", r"journal\.sqlite is torn \(unit 1 of round 0 is not as it was written\)"),
        ("a missing round", r"journal\.sqlite is torn \(rounds are missing\)"),
        ("a torn round", r"journal\.sqlite is torn \(an allocation is not as it was written\)"),
    )


def tear(study: Path, how: str) -> None:
    about, journal = study / "study.json", study / "journal.sqlite"
    if how == "half a study.json":
        about.write_bytes(about.read_bytes()[:200])
    elif how == "an empty study.json":
        about.write_bytes(b"")
    elif how == "an edited study.json":
        about.write_text(about.read_text().replace('"seed": 1', '"seed": 2'))
    elif how == "another schema":
        about.write_text(about.read_text().replace('"schema": 1', '"schema": 99'))
    elif how == "no study.json":
        about.unlink()
    elif how == "half a journal":
        journal.write_bytes(journal.read_bytes()[: journal.stat().st_size // 2])
    elif how == "no database":
        journal.write_bytes(b"PK" * 5000)
    elif how == "another database":
        journal.unlink()
        execute(journal, "CREATE TABLE recipes(name)")
    elif how == "another study's journal":
        execute(journal, "UPDATE meta SET value = 'ff' WHERE key = 'study'")
    elif how == "a flipped bit in the records":
        execute(
            journal,
            "UPDATE units SET records = CAST(x'ff' || substr(records, 2) AS BLOB) WHERE unit = 1",
        )
    elif how == "a missing round":
        execute(journal, "UPDATE rounds SET round = 1")
    elif how == "a torn round":
        execute(journal, "UPDATE rounds SET allocation = substr(allocation, 1, 5)")


def execute(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as database:
        database.execute(statement)
    database.close()


@pytest.mark.parametrize(("how", "said"), list(torn_cases()))
def test_a_torn_study_is_refused_and_left_untouched(study: Path, how: str, said: str) -> None:
    tear(study, how)
    before = contents(study)
    with pytest.raises(StudyError, match=said):
        Journal.open(study, IDENTITY)
    assert contents(study) == before


def test_killed_at_the_very_start_goes_on(study: Path) -> None:
    """Between study.json and the first transaction: no journal yet, or an empty file, or half a study.json.part."""
    (study / "journal.sqlite").unlink()
    with Journal.open(study, IDENTITY) as journal:
        assert journal.rounds() == []
    (study / "journal.sqlite").write_bytes(b"")
    with Journal.open(study, IDENTITY) as journal:
        assert journal.rounds() == []
    for path in study.iterdir():
        path.unlink()
    (study / "study.json.part").write_text('{"study": ')
    with Journal.open(study, IDENTITY) as journal:
        assert journal.rounds() == []
    assert sorted(contents(study)) == ["journal.lock", "journal.sqlite", "study.json"]


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


def test_a_full_disk_keeps_what_was_written(study: Path) -> None:
    with Journal.open(study, IDENTITY) as journal:
        (pages,) = journal._database._connection.execute("PRAGMA page_count").fetchone()
        journal._database._connection.execute(
            f"PRAGMA max_page_count = {pages}"
        )  # SQLite then says SQLITE_FULL, as of a full disk
        with pytest.raises(StudyError, match=r"No space is left to write .*journal\.sqlite; make room"):
            for index in range(3, 100):
                journal.add(result(index, 20, 7))
        last = [one.unit.index for one in journal.results()][-1]
    with Journal.open(study, IDENTITY) as journal:
        assert [one.unit.index for one in journal.results()] == list(range(last + 1))
        journal.add(result(last + 1, 20, 7))


def test_a_full_disk_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StudyError, match=r"No space is left to write .*study\.json"):
            Journal.open(tmp_path / "study", IDENTITY)
    Journal.open(tmp_path / "study", IDENTITY).close()


@pytest.fixture
def nobody() -> Iterator[Path]:
    """A folder of this test's own, and rights that can be refused: root may write everywhere."""
    if not hasattr(os, "geteuid"):
        pytest.skip("folders have no permissions on this system")
    with tempfile.TemporaryDirectory() as name:
        root = os.geteuid() == 0
        if root:
            os.chown(name, 65534, 65534)
            os.seteuid(65534)
        try:
            yield Path(name)
        finally:
            if root:
                os.seteuid(0)


def test_a_read_only_folder_is_refused(nobody: Path) -> None:
    study = nobody / "study"
    with Journal.open(study, IDENTITY) as journal:
        journal.plan(0, np.array([20, 7]))
        journal.add(result(0, 20, 7))
    for path in study.iterdir():
        path.chmod(0o444)
    study.chmod(0o555)
    before = contents(study)
    with pytest.raises(StudyError, match=r"cannot be opened for writing \(read-only\)"):
        Journal.open(study, IDENTITY)
    with Journal.read(study) as journal:
        assert len(list(journal.results())) == 1
    assert contents(study) == before
    with pytest.raises(StudyError, match=r"new cannot be opened for writing \(read-only\)"):
        Journal.open(study / "new", IDENTITY)
    (study / "journal.lock").chmod(0o644)
    study.chmod(0o755)
    with (
        pytest.raises(StudyError, match=r"journal\.sqlite cannot be opened for writing"),
        Journal.open(study, IDENTITY) as journal,
    ):
        journal.add(result(1, 20, 7))
