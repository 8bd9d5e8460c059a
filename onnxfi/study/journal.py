"""The journal of a study: what was planned and what came out, in one SQLite file that a kill leaves whole.

    study/
      study.json       the question (identity.Identity); its SHA-256 is the study's id
      journal.sqlite   the answers so far, in SQLite's rollback mode, written by one process
      journal.lock     empty; held by the process that writes

Tables of journal.sqlite (PRAGMA user_version is identity.SCHEMA; later schemas add tables):

    meta(key, value)                  study: the id in study.json; record: the layout of a record, NumPy's descr as JSON
    rounds(round, allocation)         what a round was planned to draw: little-endian i8 for each stratum, so many
                                      further indices; written before its first unit
    units(round, unit, records, crc)  one row a unit: metrics.outcome.RECORD[trials]; CRC-32 of its pieces and records
    pieces(round, unit, piece, stratum, start, stop, masked, non_critical, critical, non_finite)
                                      where the records of a unit come from, in their order, and their counts
    effort(round, unit, image_inferences, equivalent_inferences, seconds)
                                      what it cost: a block of its own, because two runs of one study differ in nothing
                                      else; round and unit are NULL for the preparation of a run (golden pass)

One transaction a unit: it is there whole or not at all.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.errors import StudyError
from onnxfi.metrics.outcome import RECORD
from onnxfi.study import place
from onnxfi.study.identity import SCHEMA, Identity
from onnxfi.study.result import Cost, Result
from onnxfi.study.units import Piece, Unit

_APPLICATION = 0x6F6E6669  # 'onfi': what `file` shows of a journal
_LAYOUT = json.dumps(RECORD.descr)
_PATIENCE = 300.0  # seconds that the writer waits for a reader to let go
_TABLES = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE rounds(round INTEGER PRIMARY KEY, allocation BLOB NOT NULL);
CREATE TABLE units(
    round INTEGER NOT NULL, unit INTEGER NOT NULL, records BLOB NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY(round, unit)
);
CREATE TABLE pieces(
    round INTEGER NOT NULL, unit INTEGER NOT NULL, piece INTEGER NOT NULL,
    stratum INTEGER NOT NULL, start INTEGER NOT NULL, stop INTEGER NOT NULL,
    masked INTEGER NOT NULL, non_critical INTEGER NOT NULL, critical INTEGER NOT NULL, non_finite INTEGER NOT NULL,
    PRIMARY KEY(round, unit, piece)
) WITHOUT ROWID;
CREATE TABLE effort(
    round INTEGER, unit INTEGER,
    image_inferences INTEGER NOT NULL, equivalent_inferences REAL NOT NULL, seconds REAL NOT NULL,
    UNIQUE(round, unit)
)"""


class Journal:
    """A study on disk. `open` to go on with it, `read` to look at it, also while another process writes."""

    def __init__(
        self, folder: Path, identity: Identity, about: Mapping[str, Any], held: sqlite3.Connection | None
    ) -> None:
        self.folder, self.identity, self.about = folder, identity, about
        self.path = folder / place.JOURNAL
        self._held = held
        with place.trouble(self.path):
            mode = "rw" if held is None else "rwc"  # a reader, too, may have to roll back what a kill left half-done
            self._db = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode={mode}", uri=True, timeout=_PATIENCE, isolation_level=None
            )

    @classmethod
    def open(cls, folder: str | Path, identity: Identity, about: Mapping[str, Any] | None = None) -> Journal:
        """The journal of this study, begun where there is none.

        about: notes for people (file names, say) that go into study.json, not into the identity; the first run's stay.
        Raises StudyError, and leaves everything as it was, when the folder is a file, holds other things or another
        study, is torn, read-only, full, or being written by another process.
        """
        folder = Path(folder)
        place.claim(folder, identity)
        held = place.lock(folder)
        try:
            if not place.claim(folder, identity):  # again: another process may have begun here before we held the lock
                place.write_study(folder, identity, about or {})
            identity, about = place.read_study(folder)
            journal = cls(folder, identity, about, held)
        except BaseException:
            held.close()
            raise
        try:
            journal._begin()
            journal._check()
        except BaseException:
            journal.close()
            raise
        return journal

    @classmethod
    def read(cls, folder: str | Path) -> Journal:
        """The journal of the study in a folder, to read only; StudyError as in `open`."""
        folder = Path(folder)
        identity, about = place.read_study(folder)
        if not (folder / place.JOURNAL).is_file():
            raise StudyError(f"{folder} has no {place.JOURNAL} yet; run the study's command again.")
        journal = cls(folder, identity, about, None)
        try:
            journal._check()
        except BaseException:
            journal.close()
            raise
        return journal

    def plan(self, round_: int, allocation: NDArray[np.int64]) -> None:
        """Write down what a round is to draw: i8[strata], further indices of each stratum."""
        with self._transaction() as db:
            db.execute("INSERT INTO rounds VALUES (?, ?)", (round_, allocation.astype("<i8").tobytes()))

    def add(self, result: Result) -> None:
        """Write a unit's result, whole or not at all."""
        with self._transaction() as db:
            self._insert(db, result)

    def add_all(self, results: Iterator[Result]) -> None:
        """Write the results of many units, all or none."""
        with self._transaction() as db:
            for result in results:
                self._insert(db, result)

    def add_preparation(self, cost: Cost) -> None:
        """Write what it cost to get ready, before the first unit of a run."""
        with self._transaction() as db:
            db.execute(
                "INSERT INTO effort VALUES (NULL, NULL, ?, ?, ?)",
                (cost.image_inferences, cost.equivalent_inferences, cost.seconds),
            )

    def rounds(self) -> list[NDArray[np.int64]]:
        """The allocations of the rounds planned so far, i8[strata] each."""
        rows = self._all("SELECT round, allocation FROM rounds ORDER BY round")
        if [row[0] for row in rows] != list(range(len(rows))):
            raise StudyError(place.torn(self.path, "rounds are missing"))
        if any(len(row[1]) % 8 for row in rows):
            raise StudyError(place.torn(self.path, "an allocation is not as it was written"))
        return [np.frombuffer(row[1], "<i8").astype(np.int64) for row in rows]

    def counts(self, round_: int, strata: int) -> NDArray[np.int64]:
        """i8[strata, 5] of a round so far: indices drawn, and masked, non-critical, critical, non-finite trials."""
        table = np.zeros((strata, 5), np.int64)
        for stratum, *sums in self._all(
            "SELECT stratum, SUM(stop - start), SUM(masked), SUM(non_critical), SUM(critical), SUM(non_finite) "
            "FROM pieces WHERE round = ? GROUP BY stratum",
            round_,
        ):
            table[stratum] = sums
        return table

    def unit(self, round_: int, index: int) -> Unit | None:
        """The unit as it was run, None when it was not."""
        rows = self._all(
            "SELECT stratum, start, stop FROM pieces WHERE round = ? AND unit = ? ORDER BY piece", round_, index
        )
        return Unit(round_, index, tuple(Piece(*row) for row in rows)) if rows else None

    def results(self) -> Iterator[Result]:
        """Every unit with its records, by round and index, whatever the order they were run in."""
        for round_, index in self._all("SELECT round, unit FROM units ORDER BY round, unit"):
            yield self._result(round_, index)

    def cost(self) -> Cost:
        """What the study cost up to now, all its runs together."""
        (row,) = self._all(
            "SELECT COALESCE(SUM(image_inferences), 0), COALESCE(SUM(equivalent_inferences), 0), "
            "COALESCE(SUM(seconds), 0) FROM effort"
        )
        return Cost(int(row[0]), float(row[1]), float(row[2]))

    def close(self) -> None:
        """Let go of the files and of the lock."""
        self._db.close()
        if self._held is not None:
            self._held.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self) -> None:
        """Lay out the tables where there are none yet; all in one transaction."""
        if self._all("SELECT COUNT(*) FROM sqlite_master") != [(0,)]:
            return
        with self._transaction() as db:
            db.execute(f"PRAGMA application_id = {_APPLICATION}")
            db.execute(f"PRAGMA user_version = {SCHEMA}")
            for table in _TABLES.split(";"):
                db.execute(table)
            db.executemany("INSERT INTO meta VALUES (?, ?)", [("study", self.identity.id), ("record", _LAYOUT)])

    def _check(self) -> None:
        """Read everything once; StudyError where it is not as it was written."""
        if self._all("PRAGMA application_id") != [(_APPLICATION,)]:
            raise StudyError(f"{self.path} is not a journal of onnxfi; it is left as it is: give another folder.")
        if self._all("PRAGMA user_version") != [(SCHEMA,)]:
            raise StudyError(f"{self.path} was laid out by another version of onnxfi; go on with that version.")
        meta = dict(self._all("SELECT key, value FROM meta"))
        if meta.get("study") != self.identity.id:
            raise StudyError(
                f"{self.path} belongs to another study than the {place.STUDY} beside it; put the right one back."
            )
        if meta.get("record") != _LAYOUT:
            raise StudyError(place.torn(self.path, "its records have another layout"))
        self.rounds()
        for _ in self.results():
            pass

    def _insert(self, db: sqlite3.Connection, result: Result) -> None:
        unit, cost = result.unit, result.cost
        pieces = [
            (place_, piece.stratum, piece.start, piece.stop, *(int(count) for count in counts))
            for place_, (piece, counts) in enumerate(zip(unit.pieces, result.counts(), strict=True))
        ]
        blob = result.records.astype(RECORD, copy=False).tobytes()
        db.execute("INSERT INTO units VALUES (?, ?, ?, ?)", (unit.round, unit.index, blob, _crc(pieces, blob)))
        db.executemany(
            "INSERT INTO pieces VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(unit.round, unit.index, *row) for row in pieces],
        )
        db.execute(
            "INSERT INTO effort VALUES (?, ?, ?, ?, ?)",
            (unit.round, unit.index, cost.image_inferences, cost.equivalent_inferences, cost.seconds),
        )

    def _result(self, round_: int, index: int) -> Result:
        ((blob, crc),) = self._all("SELECT records, crc FROM units WHERE round = ? AND unit = ?", round_, index)
        pieces = self._all(
            "SELECT piece, stratum, start, stop, masked, non_critical, critical, non_finite "
            "FROM pieces WHERE round = ? AND unit = ? ORDER BY piece",
            round_,
            index,
        )
        if crc != _crc(pieces, blob) or len(blob) % RECORD.itemsize:
            raise StudyError(place.torn(self.path, f"unit {index} of round {round_} is not as it was written"))
        (cost,) = self._all(
            "SELECT image_inferences, equivalent_inferences, seconds FROM effort WHERE round = ? AND unit = ?",
            round_,
            index,
        )
        unit = Unit(round_, index, tuple(Piece(*row[1:4]) for row in pieces))
        return Result(unit, np.frombuffer(blob, RECORD), Cost(*cost))

    def _all(self, query: str, *values: int) -> list[Any]:
        """Rows of one statement, fetched at once: nothing stays locked for the writer, or for the reader."""
        with place.trouble(self.path):
            return self._db.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with place.trouble(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise


def _crc(pieces: list[tuple[int, ...]], blob: bytes) -> int:
    return zlib.crc32(blob, zlib.crc32(json.dumps(pieces).encode("ascii")))
