"""Layer names of two frameworks side by side: the match files of dnn-benchmarks, `PT,TF` and a pair a line."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from onnxfi.errors import FaultError

HEADER = ("PT", "TF")


def read_match(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """PyTorch name -> Keras name, and the other way. FaultError, with file and line, for a file that is no such thing.

    Each name stands once: a pair that comes twice, or a name with two partners, is refused.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [[field.strip() for field in row] for row in csv.reader(file)]
    except OSError as error:
        raise FaultError(f"{path}: the match file cannot be read ({error.strerror}).") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise FaultError(f"{path} is no CSV file of layer names; it begins with PT,TF.") from error
    if not rows or tuple(rows[0]) != HEADER:
        raise FaultError(
            f"{path}: the header is not {','.join(HEADER)}; a match file has a pair of layer names a line."
        )
    pytorch: dict[str, str] = {}
    keras: dict[str, str] = {}
    for line, row in enumerate(rows[1:], 2):
        if not row:
            continue
        if len(row) != 2 or not all(row):
            raise FaultError(f"{path}, line {line}: {len(row)} names where a pair belongs.")
        if row[0] in pytorch or row[1] in keras:
            raise FaultError(f"{path}, line {line}: {row[0]!r} or {row[1]!r} has a partner already.")
        pytorch[row[0]], keras[row[1]] = row[1], row[0]
    return pytorch, keras


def towards(path: Path, names: Sequence[str]) -> dict[str, str]:
    """Of each of `names` its partner, from whichever column they all stand in; FaultError where they are in neither."""
    columns = read_match(path)
    for partners in columns:
        if all(name in partners for name in names):
            return {name: partners[name] for name in names}
    best = max(columns, key=lambda partners: sum(name in partners for name in names))
    missing = next(name for name in names if name not in best)
    raise FaultError(f"{path} does not name layer {missing!r}; add its pair.")
