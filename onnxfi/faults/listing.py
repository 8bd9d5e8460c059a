"""Fault lists as the dnn-benchmarks campaigns publish them: one bit flip a row, often with what it did.

    Injection,Layer,TensorIndex,Bit
    0,conv1,"(3, 0, 2, 1)",15

and, with results, four counts of images more: `n_injections,masked,non_critical,critical`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onnxfi.errors import FaultError
from onnxfi.faults.space import FaultSpace

FAULT = ("Injection", "Layer", "TensorIndex", "Bit")
RESULTS = ("n_injections", "masked", "non_critical", "critical")

_NUMBER = re.compile(r"\d{1,18}", re.ASCII)
_TUPLE = re.compile(r"\(\s*-?\d{1,18}\s*(?:,\s*-?\d{1,18}\s*)*,?\s*\)", re.ASCII)
_HIGHEST_BIT = 31  # the lists are of float32 networks only


@dataclass(frozen=True)
class Counts:
    """What one fault did, in images. `injections` is what the row claims: one list claims more than it ran.

    The top-1 criterion of the campaigns: masked, logits equal; critical, another top-1 than the fault-free one.
    """

    injections: int
    masked: int
    non_critical: int
    critical: int

    @property
    def images(self) -> int:
        """The images that were counted, which every rate is a share of."""
        return self.masked + self.non_critical + self.critical


@dataclass(frozen=True)
class Entry:
    """One row. `index` leads into the layer's weight as the list's framework stores it; bit 0 is the lowest."""

    injection: int
    layer: str
    index: tuple[int, ...]
    bit: int
    counts: Counts | None = None

    def __str__(self) -> str:
        return f"injection {self.injection} ({self.layer}, {self.index}, bit {self.bit})"


@dataclass(frozen=True)
class FaultList:
    """The rows of one file, in its order. `source`: the file, for errors. Numbers may have gaps, never twins."""

    source: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Place:
    """Where a layer's weight is in a fault space: its region, and the weight's shape in the list's own layout.

    A region's sites are numbered in the stored tensor's order: `shape` is the stored shape, and whoever makes the
    place knows that list and file store the weight alike (PyTorch's OIHW and OI are ONNX's Conv and Gemm, transB=1).
    """

    region: int
    shape: tuple[int, ...]


def read_list(path: Path) -> FaultList:
    """Read a fault list of 4 or 8 columns, whatever its line ends. FaultError, with file and line, for any other."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            try:
                entries = tuple(_rows(reader))
            except (FaultError, csv.Error) as error:
                raise FaultError(f"{path}, line {max(reader.line_num, 1)}: {error}.") from error
    except OSError as error:
        raise FaultError(f"{path}: the fault list cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise FaultError(f"{path} is no UTF-8 text; a fault list is a CSV file.") from error
    if not entries:
        raise FaultError(f"{path}: the list holds no fault, only a header.")
    return FaultList(str(path), entries)


def fault_ids(listed: FaultList, places: Mapping[str, Place], space: FaultSpace) -> NDArray[np.uint64]:
    """Fault ids in `space`, uint64 (entries,), of the list's faults in its order.

    `places`: layer name in the list -> where its weight is. FaultError, with file and injection, for a layer that has
    no place, or an index or a bit that the place does not have.
    """
    ids = np.empty(len(listed.entries), np.uint64)
    of_layer: dict[str, list[int]] = {}
    for row, entry in enumerate(listed.entries):
        of_layer.setdefault(entry.layer, []).append(row)
    for layer, rows in of_layer.items():
        entries = [listed.entries[row] for row in rows]
        if layer not in places:
            raise FaultError(
                f"{listed.source}: {entries[0]} names a layer that the network does not have; it has {_some(places)}."
            )
        ids[rows] = _layer_ids(listed.source, entries, places[layer], space)
    return ids


def _layer_ids(source: str, entries: Sequence[Entry], place: Place, space: FaultSpace) -> NDArray[np.uint64]:
    shape, bits = place.shape, set(space.regions[place.region].bits)
    for entry in entries:
        inside = len(entry.index) == len(shape) and all(i < n for i, n in zip(entry.index, shape, strict=True))
        if not inside:
            raise FaultError(f"{source}: {entry} is outside of that layer's weight, which has shape {shape}.")
        if entry.bit not in bits:
            raise FaultError(f"{source}: {entry} has a bit that this fault space leaves out.")
    index = np.array([entry.index for entry in entries], np.int64)
    site = np.ravel_multi_index(tuple(index.T), shape)
    bit = np.array([entry.bit for entry in entries], np.int64)
    return space.ids(np.full(len(entries), place.region), site, bit)


def _rows(reader: Iterator[list[str]]) -> Iterator[Entry]:
    header = tuple(name.strip() for name in next(reader, []))
    if header not in (FAULT, FAULT + RESULTS):
        raise FaultError(
            f"the header is {','.join(header)[:200]!r}; a fault list begins with {','.join(FAULT)}, "
            f"with results followed by {','.join(RESULTS)}"
        )
    seen: set[int] = set()
    for fields in reader:
        if not fields:
            continue
        if len(fields) != len(header):
            raise FaultError(f"{len(fields)} fields stand under the {len(header)} columns of the header")
        entry = _entry(fields)
        if entry.injection in seen:
            raise FaultError(f"Injection {entry.injection} is there a second time; each number names one fault")
        seen.add(entry.injection)
        yield entry


def _entry(fields: list[str]) -> Entry:
    numbers = [_number(name, text) for name, text in zip(RESULTS, fields[4:], strict=False)]
    layer = fields[1].strip()
    if not layer:
        raise FaultError("Layer is empty; it is the name of the layer whose weight goes wrong")
    bit = _number("Bit", fields[3])
    if bit > _HIGHEST_BIT:
        raise FaultError(f"Bit is {bit}; the bits of a float32 are 0 to {_HIGHEST_BIT}")
    return Entry(_number("Injection", fields[0]), layer, _index(fields[2]), bit, Counts(*numbers) if numbers else None)


def _number(name: str, text: str) -> int:
    if not _NUMBER.fullmatch(text.strip()):
        raise FaultError(f"{name} is {text[:50]!r}; it must be a whole number, zero or more")
    return int(text)


def _index(text: str) -> tuple[int, ...]:
    if not _TUPLE.fullmatch(text.strip()):
        raise FaultError(f'TensorIndex is {text[:50]!r}; it must be a tuple in quotes, such as "(3, 0, 2, 1)"')
    index = tuple(int(part) for part in text.strip().strip("(),").split(",") if part.strip())
    if min(index) < 0:
        raise FaultError(f"TensorIndex is {text!r}; no index is negative")
    return index


def _some(names: Mapping[str, Place]) -> str:
    """The first few names, and how many more."""
    first = [repr(name) for name in list(names)[:5]]
    return ", ".join(first) + (f" and {len(names) - len(first)} more" if len(names) > len(first) else "")
