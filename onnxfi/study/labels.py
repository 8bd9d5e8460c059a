"""Names of classes: from images that name them, or from a text file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from onnxfi.errors import DataError
from onnxfi.study.reading import read


def class_names(data: Sequence[Path], labels: Path | None) -> tuple[str, ...]:
    """Names by class number. Raises DataError where there are none, or both sources are given."""
    if (labels is None) == (not data):
        raise DataError("Give --data with images that name their classes, or --labels with a name on each line.")
    if labels is not None:
        return read_labels(labels)
    names: dict[int, str] = {}
    for path in data:
        names |= read(path).classes
    if not names:
        raise DataError(f"{data[0]} does not name its classes; give --labels with a name on each line.")
    return tuple(names.get(number, str(number)) for number in range(max(names) + 1))


def read_labels(path: Path) -> tuple[str, ...]:
    """One name a line. Raises DataError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}); give a text file with a class name on each line.") from error
    names = tuple(line.strip() for line in lines)
    while names and not names[-1]:
        names = names[:-1]
    if not names or not all(names):
        raise DataError(f"{path} has an empty line, or no line; give a class name on each line.")
    return names
