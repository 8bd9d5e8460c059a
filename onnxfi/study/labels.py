"""Names of classes, and which of them each output of a model stands for, where it numbers them in its own way."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from onnxfi.errors import DataError
from onnxfi.metrics.safety import Groups
from onnxfi.study.dataset import Dataset
from onnxfi.study.reading import read
from onnxfi.study.settings import Data

Order = tuple[int | None, ...]
"""By output of the model: the class, as images and groups number it; None for an output that is none of them."""

BACKGROUND = "background-first"
"""As --label-map: output 0 is no class, and every class is one output later, as in nets of 1,001 outputs."""


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


def output_order(data: Data, count: int, *names: Sequence[str]) -> Order | None:
    """Which class each output of the model stands for, as --labels or --label-map says; None where neither is given.

    count: how many classes there are. names: by class number, under which --labels may call them; one list or more.
    Raises DataError.
    """
    if data.labels is not None and data.label_map is not None:
        raise DataError("--labels and --label-map both say what the outputs are; give one of the two.")
    if data.label_map == BACKGROUND:
        return (None, *range(count))
    if data.label_map is not None:
        return _read_map(Path(data.label_map))
    if data.labels is not None:
        return _matched(read_labels(Path(data.labels)), data.labels, names)
    return None


def relabelled(dataset: Dataset, data: Data, outputs: int | None) -> Dataset:
    """The images with their labels as the model numbers its outputs, and the outputs' names. Raises DataError."""
    if data.labels is not None and dataset.classes is None:
        names = read_labels(Path(data.labels))
        return replace(dataset, classes=names, sha256=_marked(dataset, names))
    classes = dataset.classes or ()
    order = output_order(data, outputs - 1 if outputs else len(classes), classes)
    if order is None:
        return dataset
    named = tuple("(no class)" if n is None else classes[n] if n < len(classes) else str(n) for n in order)
    labels = dataset.labels
    if labels is not None:
        place = {number: output for output, number in enumerate(order) if number is not None}
        missing = sorted(set(labels.tolist()) - set(place))
        if missing:
            raise DataError(f"No output of the model stands for label {missing[0]} of the images.")
        labels = np.array([place[number] for number in labels.tolist()], np.int64)
        labels.flags.writeable = False
    return replace(dataset, labels=labels, classes=named, sha256=_marked(dataset, order))


def arranged(groups: Groups, data: Data) -> Groups:
    """The groups with their classes as the model numbers its outputs. Raises DataError."""
    first = [name.split(",")[0] for name in groups.classes]
    order = output_order(data, len(groups.classes), groups.classes, groups.ids, first)
    return groups if order is None else groups.arranged(order)


def _marked(dataset: Dataset, order: Sequence[object]) -> str:
    """Other labels are another question."""
    return hashlib.sha256(f"{dataset.sha256} {list(order)}".encode()).hexdigest()


def _read_map(path: Path) -> Order:
    try:
        lines = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}); give a class number, or -, for each output.") from error
    order: list[int | None] = []
    for place, word in enumerate(lines):
        if word != "-" and not word.isdecimal():
            raise DataError(f"{path} has {word!r} for output {place}; give a class number, or - for none.")
        order.append(None if word == "-" else int(word))
    return _once(tuple(order), str(path))


def _matched(names: Sequence[str], where: str, known: Sequence[Sequence[str]]) -> Order:
    numbers: dict[str, int | None] = {}
    for listed in reversed(known):
        own: dict[str, int | None] = {}
        for number, name in enumerate(listed):
            key = name.strip().casefold()
            own[key] = None if key in own else number
        numbers |= own
    order = tuple(numbers.get(name.casefold()) for name in names)
    if all(number is None for number in order):
        raise DataError(f"{where} names none of the classes, such as {known[0][0]!r}.")
    return _once(order, where)


def _once(order: Order, where: str) -> Order:
    seen: set[int] = set()
    for number in order:
        if number is not None and number in seen:
            raise DataError(f"{where} gives class {number} to two outputs.")
        seen |= set() if number is None else {number}
    return order
