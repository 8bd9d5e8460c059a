"""The journal of a study: what was planned and what came out, in one SQLite file that a kill leaves whole.

    study/
      study.json       the question (identity.Identity); its SHA-256 is the study's id
      journal.sqlite   the answers so far, written by one process
      journal.lock     empty; held by the process that writes

Tables of journal.sqlite (PRAGMA user_version is identity.SCHEMA; later schemas add tables):

    meta(key, value)                  study: the id in study.json; record: the layout of a record, NumPy's descr as JSON
    rounds(round, allocation)         what a round was planned to draw: little-endian i8 for each stratum, so many
                                      further indices; written before its first unit
    units(round, unit, records, crc)  one row a unit: metrics.outcome.RECORD[trials], of a replayed list
                                      metrics.facts.TALLY[faults]; CRC-32 of its pieces and records
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
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.errors import StudyError
from onnxfi.metrics.facts import TALLY
from onnxfi.metrics.outcome import RECORD
from onnxfi.study import place
from onnxfi.study.database import Database
from onnxfi.study.identity import Identity
from onnxfi.study.result import Cost, Result
from onnxfi.study.units import Piece, Unit

LISTED = "list"
"""The kind of plan, in a study's identity, whose journal keeps counts for each fault, not records for each trial."""


class Journal:
    """A study on disk. `open` to go on with it, `read` to look at it, also while another process writes."""

    def __init__(
        self, folder: Path, identity: Identity, about: Mapping[str, Any], held: sqlite3.Connection | None
    ) -> None:
        self.folder, self.identity, self.about = folder, identity, about
        self.path = folder / place.JOURNAL
        self._record = TALLY if identity.plan.get("kind") == LISTED else RECORD
        self._held = held
        self._database = Database(self.path, create=held is not None)

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
            journal._database.lay_out({"study": identity.id, "record": json.dumps(journal._record.descr)})
            journal._check()
            journal._database.take_in()
        except BaseException:
            journal.close()
            raise
        return journal

    @classmethod
    def read(cls, folder: str | Path) -> Journal:
        """The journal of the study in a folder, to read only; StudyError as in `open`."""
        folder = Path(folder)
        identity, about = place.read_study(folder)
        path = folder / place.JOURNAL
        if not path.is_file() or not path.stat().st_size:
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
        with self._database.transaction() as db:
            db.execute("INSERT INTO rounds VALUES (?, ?)", (round_, allocation.astype("<i8").tobytes()))

    def add(self, result: Result) -> None:
        """Write a unit's result, whole or not at all."""
        with self._database.transaction() as db:
            self._insert(db, result)

    def add_all(self, results: Iterator[Result]) -> None:
        """Write the results of many units, all or none."""
        with self._database.transaction() as db:
            for result in results:
                self._insert(db, result)

    def add_preparation(self, cost: Cost) -> None:
        """Write what it cost to get ready, before the first unit of a run."""
        with self._database.transaction() as db:
            db.execute(
                "INSERT INTO effort VALUES (NULL, NULL, ?, ?, ?)",
                (cost.image_inferences, cost.equivalent_inferences, cost.seconds),
            )

    def rounds(self) -> list[NDArray[np.int64]]:
        """The allocations of the rounds planned so far, i8[strata] each."""
        rows = self._database.all("SELECT round, allocation FROM rounds ORDER BY round")
        if [row[0] for row in rows] != list(range(len(rows))):
            raise StudyError(place.torn(self.path, "rounds are missing"))
        if any(len(row[1]) % 8 for row in rows):
            raise StudyError(place.torn(self.path, "an allocation is not as it was written"))
        return [np.frombuffer(row[1], "<i8").astype(np.int64) for row in rows]

    def counts(self, round_: int, strata: int) -> NDArray[np.int64]:
        """i8[strata, 5] of a round so far: indices drawn, and masked, non-critical, critical, non-finite trials."""
        table = np.zeros((strata, 5), np.int64)
        for stratum, *sums in self._database.all(
            "SELECT stratum, SUM(stop - start), SUM(masked), SUM(non_critical), SUM(critical), SUM(non_finite) "
            "FROM pieces WHERE round = ? GROUP BY stratum",
            round_,
        ):
            table[stratum] = sums
        return table

    def size(self) -> int:
        """Units so far."""
        return int(self._database.all("SELECT COUNT(*) FROM units")[0][0])

    def unit(self, round_: int, index: int) -> Unit | None:
        """The unit as it was run, None when it was not."""
        rows = self._database.all(
            "SELECT stratum, start, stop FROM pieces WHERE round = ? AND unit = ? ORDER BY piece", round_, index
        )
        return Unit(round_, index, tuple(Piece(*row) for row in rows)) if rows else None

    def results(self) -> Iterator[Result]:
        """Every unit with its records, by round and index, whatever the order they were run in."""
        for round_, index in self._database.all("SELECT round, unit FROM units ORDER BY round, unit"):
            result = self.result(round_, index)
            assert result is not None
            yield result

    def result(self, round_: int, index: int) -> Result | None:
        """A unit with its records, None when it was not run."""
        rows = self._database.all("SELECT records, crc FROM units WHERE round = ? AND unit = ?", round_, index)
        if not rows:
            return None
        ((blob, crc),) = rows
        pieces = self._database.all(
            "SELECT piece, stratum, start, stop, masked, non_critical, critical, non_finite "
            "FROM pieces WHERE round = ? AND unit = ? ORDER BY piece",
            round_,
            index,
        )
        if crc != _crc(pieces, blob) or len(blob) % self._record.itemsize:
            raise StudyError(place.torn(self.path, f"unit {index} of round {round_} is not as it was written"))
        unit = Unit(round_, index, tuple(Piece(*row[1:4]) for row in pieces))
        return Result(unit, np.frombuffer(blob, self._record), self._cost("round = ? AND unit = ?", round_, index))

    def cost(self) -> Cost:
        """What the study cost up to now, all its runs together."""
        return self._cost("TRUE")

    def preparation(self) -> Cost:
        """What of it went into getting ready."""
        return self._cost("round IS NULL")

    def close(self) -> None:
        """Let go of the files and of the lock."""
        self._database.close()
        if self._held is not None:
            self._held.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check(self) -> None:
        """Read everything once; StudyError where it is not as it was written."""
        meta = self._database.meta()
        if meta.get("study") != self.identity.id:
            raise StudyError(
                f"{self.path} belongs to another study than the {place.STUDY} beside it; put the right one back."
            )
        if meta.get("record") != json.dumps(self._record.descr):
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
        blob = result.records.astype(self._record, copy=False).tobytes()
        db.execute("INSERT INTO units VALUES (?, ?, ?, ?)", (unit.round, unit.index, blob, _crc(pieces, blob)))
        db.executemany(
            "INSERT INTO pieces VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(unit.round, unit.index, *row) for row in pieces],
        )
        db.execute(
            "INSERT INTO effort VALUES (?, ?, ?, ?, ?)",
            (unit.round, unit.index, cost.image_inferences, cost.equivalent_inferences, cost.seconds),
        )

    def _cost(self, where: str, *values: int) -> Cost:
        (row,) = self._database.all(
            "SELECT COALESCE(SUM(image_inferences), 0), COALESCE(SUM(equivalent_inferences), 0), "
            f"COALESCE(SUM(seconds), 0) FROM effort WHERE {where}",
            *values,
        )
        return Cost(int(row[0]), float(row[1]), float(row[2]))


def _crc(pieces: list[tuple[int, ...]], blob: bytes) -> int:
    return zlib.crc32(blob, zlib.crc32(json.dumps(pieces).encode("ascii")))
