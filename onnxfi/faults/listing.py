"""Fault lists as the dnn-benchmarks campaigns publish them: one bit flip a row, often with what it did.

    Injection,Layer,TensorIndex,Bit
    0,conv1,"(3, 0, 2, 1)",15

and, with results, four counts of images more: `n_injections,masked,non_critical,critical`; so SFIadvancedmodels writes
its summaries, too. A report of keras_weight_injector has four counts more, and before its faults the fault-free run:

    inj_id,target_layer,layer_weigths,bit_pos,n_injections,top_1_correct,...
    GOLDEN,,,,10000,9148,9971,,,,
    0,conv2d,"(2, 1, 0, 3)",15,10000,9148,9971,9999,10000,14,9985,1
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onnxfi.errors import FaultError
from onnxfi.faults.layout import Layout
from onnxfi.faults.space import FaultSpace

FAULT = ("Injection", "Layer", "TensorIndex", "Bit")
RESULTS = ("n_injections", "masked", "non_critical", "critical")
REPORT_FAULT = ("inj_id", "target_layer", "layer_weigths", "bit_pos")  # sic
SCORES = ("top_1_correct", "top_5_correct", "top_1_robust", "top_5_robust")
REPORT = (*REPORT_FAULT, RESULTS[0], *SCORES, *RESULTS[1:])
GOLDEN = "GOLDEN"

_NUMBER = re.compile(r"\d{1,18}", re.ASCII)
_TUPLE = re.compile(r"\(\s*-?\d{1,18}\s*(?:,\s*-?\d{1,18}\s*)*,?\s*\)", re.ASCII)
_HIGHEST_BIT = 31  # the lists are of float32 networks only


@dataclass(frozen=True)
class Scores:
    """Images that a report of keras_weight_injector counts besides: where the label, or the fault-free top-1, is the
    top-1 or among the top 5 of the faulty run."""

    top1_correct: int
    top5_correct: int
    top1_robust: int
    top5_robust: int


@dataclass(frozen=True)
class Counts:
    """What one fault did, in images. `injections` is what the row claims: one list claims more than it ran.

    The top-1 criterion of the campaigns: masked, logits equal; critical, another top-1 than the fault-free one.
    """

    injections: int
    masked: int
    non_critical: int
    critical: int
    scores: Scores | None = None

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
    """The rows of one file, in its order. `source`: the file, for errors. Numbers may have gaps, never twins.

    `golden`: of a report, the fault-free run: images, and how many have their label as top-1, and among the top 5.
    `uncovered`: layers of the model that the list was made for and has no row of; keras_weight_injector refuses those.
    """

    source: str
    entries: tuple[Entry, ...]
    golden: tuple[int, int, int] | None = None
    uncovered: tuple[str, ...] = ()

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers' names, each once, as they come."""
        return tuple(dict.fromkeys(entry.layer for entry in self.entries))


@dataclass(frozen=True)
class Place:
    """Where a layer's weight is in a fault space: its region, and the weight as the list lays it out.

    A region's sites are numbered in the stored tensor's order, and the layout leads to them.
    """

    region: int
    layout: Layout


def read_list(path: Path) -> FaultList:
    """Read a fault list of 4 or 8 columns, or a report, whatever its line ends.

    FaultError, with file and line, for any other.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return parse_list(file.read(), str(path))
    except OSError as error:
        raise FaultError(f"{path}: the fault list cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise FaultError(f"{path} is no UTF-8 text; a fault list is a CSV file.") from error


def parse_list(text: str, source: str) -> FaultList:
    """The same of a text; `source` is what errors call it."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        rows = tuple(_rows(reader))
    except (FaultError, csv.Error) as error:
        raise FaultError(f"{source}, line {max(reader.line_num, 1)}: {error}.") from error
    entries = tuple(row for row in rows if isinstance(row, Entry))
    if not entries:
        raise FaultError(f"{source}: the list holds no fault, only a header.")
    return FaultList(source, entries, next((row for row in rows if not isinstance(row, Entry)), None))


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
    layout, bits = place.layout, space.regions[place.region].bits
    for entry in entries:
        if len(entry.index) != len(layout.shape):
            raise _outside(source, entry, layout)
    index = np.array([entry.index for entry in entries], np.int64)
    if (wrong := np.flatnonzero(~layout.holds(index))).size:
        raise _outside(source, entries[wrong[0]], layout)
    bit = np.array([entry.bit for entry in entries], np.int64)
    if (wrong := np.flatnonzero(~np.isin(bit, bits))).size:
        raise FaultError(f"{source}: {entries[wrong[0]]} has a bit that this fault space leaves out.")
    return space.ids(np.full(len(entries), place.region), layout.sites(index), bit)


def _outside(source: str, entry: Entry, layout: Layout) -> FaultError:
    return FaultError(f"{source}: {entry} is outside of that layer's weight, which has shape {layout.shape}.")


def _rows(reader: Iterator[list[str]]) -> Iterator[Entry | tuple[int, int, int]]:
    """The faults, and of a report its fault-free run."""
    header = tuple(name.strip() for name in next(reader, []))
    report = header[:4] == REPORT_FAULT and set(header) <= set(REPORT)
    if not report and header not in (FAULT, FAULT + RESULTS):
        raise FaultError(
            f"the header is {','.join(header)[:200]!r}; a fault list begins with {','.join(FAULT)}, "
            f"with results followed by {','.join(RESULTS)}, and a report of keras_weight_injector with "
            f"{','.join(REPORT_FAULT)}"
        )
    # One tool writes a report's header over rows without results, and its GOLDEN row is a field short.
    lengths = {4, len(REPORT)} if report else {len(header)}
    seen: set[int] = set()
    for fields in reader:
        if not fields:
            continue
        if report and fields[0].strip() == GOLDEN:
            yield _golden(fields)
            continue
        if len(fields) not in lengths:
            raise FaultError(f"{len(fields)} fields stand under the {len(header)} columns of the header")
        entry = _entry(fields)
        if entry.injection in seen:
            raise FaultError(f"Injection {entry.injection} is there a second time; each number names one fault")
        seen.add(entry.injection)
        yield entry


def _golden(fields: list[str]) -> tuple[int, int, int]:
    if len(fields) < 7:
        raise FaultError(f"{len(fields)} fields stand in the row {GOLDEN}; it counts images, top-1 and top-5 correct")
    images, top1, top5 = (_number(name, text) for name, text in zip(REPORT[4:7], fields[4:7], strict=True))
    return images, top1, top5


def _entry(fields: list[str]) -> Entry:
    layer = fields[1].strip()
    if not layer:
        raise FaultError("Layer is empty; it is the name of the layer whose weight goes wrong")
    bit = _number("Bit", fields[3])
    if bit > _HIGHEST_BIT:
        raise FaultError(f"Bit is {bit}; the bits of a float32 are 0 to {_HIGHEST_BIT}")
    return Entry(_number("Injection", fields[0]), layer, _index(fields[2]), bit, _counts(fields[4:]))


def _counts(fields: list[str]) -> Counts | None:
    """Of the fields behind a fault: none, four, or a report's eight."""
    if not fields:
        return None
    if len(fields) == len(RESULTS):
        images, masked, non_critical, critical = map(_number, RESULTS, fields)
        return Counts(images, masked, non_critical, critical)
    *others, rest, last = fields
    images, *scores, masked = map(_number, REPORT[4:], others)
    # That tool subtracts: where a masked image ties and the tie goes the other way, it counts one below zero.
    sign = -1 if rest.strip().startswith("-") else 1
    fewer = sign * _number("non_critical", rest.strip().removeprefix("-"))
    return Counts(images, masked, fewer, _number("critical", last), Scores(*scores))


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
