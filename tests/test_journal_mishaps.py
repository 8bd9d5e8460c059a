"""What befalls a study's folder: torn files, an early kill, a full disk, no right to write; what is written stays."""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from journals import IDENTITY, begun, contents, result

from onnxfi.errors import StudyError
from onnxfi.study.journal import Journal


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return begun(tmp_path / "study")


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
