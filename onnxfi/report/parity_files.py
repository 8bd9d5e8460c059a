"""The files that parity writes, beside the studies' own folders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from onnxfi.parity.listed import Listed
from onnxfi.report.files import write_text
from onnxfi.report.parity import to_json
from onnxfi.report.parity_page import parity_page
from onnxfi.report.parity_trials import OUTCOMES

JSON, PAGE = "parity.json", "report.html"


def write(folder: Path, found: Mapping[str, Any], listed: Listed | None = None) -> None:
    """Write all files into `folder`, over what was there. Raises StudyError for a full or read-only disk."""
    tables = {
        "layers": [_flat(row, ("a", "b", "difference")) for row in found["layers"]],
        "channels": [_flat(row, ("a", "b", "difference")) for row in found["channels"]],
        "disagreements": found["disagreements"],
    }
    if found["match"]:
        tables["match"] = found["match"]["pairs"] + found["match"]["unmatched"]
    if listed:
        tables["faults"] = _faults(listed)
    for name, rows in tables.items():
        write_text(folder / f"{name}.csv", pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))
    write_text(folder / JSON, to_json(found))
    write_text(folder / PAGE, parity_page(found))


def _faults(listed: Listed) -> list[dict[str, Any]]:
    rows = []
    for entry, cells in zip(listed.entries.entries, listed.cells, strict=True):
        row: dict[str, Any] = {
            "injection": entry.injection,
            "layer": entry.layer,
            "index": entry.index,
            "bit": entry.bit,
        }
        for i, one in enumerate(OUTCOMES):
            row |= {f"{one} / {other}": int(cells[i, j]) for j, other in enumerate(OUTCOMES)}
        rows.append(row)
    return rows


def _flat(row: Mapping[str, Any], parts: tuple[str, ...]) -> dict[str, Any]:
    """Rates as columns of their own."""
    plain = {name: value for name, value in row.items() if name not in parts}
    for part in parts:
        plain |= {f"{part}_{name}": value for name, value in row[part].items()}
    return plain
