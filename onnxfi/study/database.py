"""The SQLite file under a journal: opened, laid out, read and written in transactions, its errors as sentences."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from onnxfi.errors import StudyError
from onnxfi.study import place
from onnxfi.study.identity import SCHEMA

_APPLICATION = 0x6F6E6669  # 'onfi': what `file` shows of a journal
_PATIENCE = 60.0  # seconds to wait for another process that has the file for a moment
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


class Database:
    """journal.sqlite: a kill, or a power cut, leaves it as it was after a whole transaction.

    While it is written it has a write-ahead log beside it, which does not wait for the disk at each unit (16 ms instead
    of 0.1, where others use the disk, too) and lets others read. Closed, it is one file again, to carry anywhere. After
    a kill the log is still there; the next one to open the journal takes it in, for which it must be able to write.
    """

    def __init__(self, path: Path, create: bool) -> None:
        self.path = path
        with place.trouble(path):
            self._connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}",
                uri=True,
                timeout=_PATIENCE,
                isolation_level=None,
            )
        self._logging = False

    def lay_out(self, meta: dict[str, str]) -> None:
        """Make the tables where there are none yet; all in one transaction."""
        if self.all("SELECT COUNT(*) FROM sqlite_master") != [(0,)]:
            return
        with self.transaction() as connection:
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            connection.execute(f"PRAGMA user_version = {SCHEMA}")
            for table in _TABLES.split(";"):
                connection.execute(table)
            connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())

    def meta(self) -> dict[str, str]:
        """The table meta; StudyError where this is not a journal, or of another version."""
        if self.all("PRAGMA application_id") != [(_APPLICATION,)]:
            raise StudyError(f"{self.path} is not a journal of onnxfi; it is left as it is: give another folder.")
        if self.all("PRAGMA user_version") != [(SCHEMA,)]:
            raise StudyError(f"{self.path} was laid out by another version of onnxfi; go on with that version.")
        return dict(self.all("SELECT key, value FROM meta"))

    def all(self, query: str, *values: int) -> list[Any]:
        """Rows of one statement, fetched at once: nothing stays locked for the writer, or for the reader."""
        with place.trouble(self.path):
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Written whole at the end of the block, or not at all where it raises."""
        with place.trouble(self.path):
            self._log()
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def take_in(self) -> None:
        """Take in the log that a kill left, at the latest on closing."""
        if self.all("PRAGMA journal_mode") == [("wal",)]:
            self._log()

    def _log(self) -> None:
        """Get ready to write; not before there is something to write, for it changes the file's first bytes."""
        if not self._logging:
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._logging = True

    def close(self) -> None:
        """Let go of the file, and put it together where it was written."""
        if self._logging:
            with suppress(sqlite3.Error):  # somebody reads it: then the log stays, for the next to do so
                self._connection.execute("PRAGMA journal_mode = DELETE")
        self._connection.close()
