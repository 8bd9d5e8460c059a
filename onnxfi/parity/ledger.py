"""What a list did in both networks, block of images by block: one SQLite file that a kill leaves whole.

list.sqlite
  meta(key, value)               question: what was asked, as text
  units(block, unit, first, stop, images, cells, apart)
                                 rows [first, stop) of the list in the order of layers, on so many images;
                                 cells: u4 (rows, 3, 3), trials by outcome in the first and in the second network;
                                 apart: paired.DISAGREEMENT of the trials that are critical in one of the two only
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.errors import StudyError
from onnxfi.parity.paired import DISAGREEMENT
from onnxfi.study import place
from onnxfi.study.units import Unit

LEDGER = "list.sqlite"

_TABLES = (
    "CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS units(block INTEGER, unit INTEGER, first INTEGER, stop INTEGER, images INTEGER, "
    "cells BLOB, apart BLOB, PRIMARY KEY(block, unit))",
)


@dataclass(frozen=True)
class Told:
    """All that is known. images (rows,): on how many each row ran; cells i8 (rows, 3, 3); apart: DISAGREEMENT."""

    images: NDArray[np.int64]
    cells: NDArray[np.int64]
    apart: NDArray[Any]


class Ledger:
    """Open to write. StudyError where the file belongs to another question, or cannot be written."""

    def __init__(self, folder: Path, question: str) -> None:
        self._path = folder / LEDGER
        with place.trouble(self._path):
            self._connection = sqlite3.connect(self._path, timeout=60.0)
            with self._connection as db:
                for table in _TABLES:
                    db.execute(table)
                db.execute("INSERT OR IGNORE INTO meta VALUES ('question', ?)", (question,))
            known = self._connection.execute("SELECT value FROM meta WHERE key = 'question'").fetchone()
        if known != (question,):
            self.close()
            raise StudyError(f"{self._path} belongs to another list, model or data: give another --out.")

    def units(self, block: int) -> set[int]:
        """The indices of a block's units that are written down."""
        with place.trouble(self._path):
            return {unit for (unit,) in self._connection.execute("SELECT unit FROM units WHERE block = ?", (block,))}

    def add(self, unit: Unit, images: int, cells: NDArray[np.int64], apart: NDArray[Any]) -> None:
        """Write a unit down, whole or not at all."""
        (piece,) = unit.pieces
        row = (unit.round, unit.index, piece.start, piece.stop, images, cells.astype("<u4").tobytes(), apart.tobytes())
        with place.trouble(self._path), self._connection as db:
            db.execute("INSERT OR REPLACE INTO units VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def told(self, rows: int, blocks: int) -> Told:
        """What the first `blocks` say of a list of so many rows, in the order of layers."""
        images, cells = np.zeros(rows, np.int64), np.zeros((rows, 3, 3), np.int64)
        apart = [np.zeros(0, DISAGREEMENT)]
        query = "SELECT first, stop, images, cells, apart FROM units WHERE block < ? ORDER BY block, unit"
        with place.trouble(self._path), closing(self._connection.execute(query, (blocks,))) as found:
            for first, stop, count, counted, differing in found:
                images[first:stop] += count
                cells[first:stop] += np.frombuffer(counted, "<u4").reshape(-1, 3, 3)
                apart.append(np.frombuffer(differing, DISAGREEMENT))
        return Told(images, cells, np.concatenate(apart))

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
