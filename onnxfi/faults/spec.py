r"""Faults in writing: `TENSOR[i,j,...]:CHANGE`, parsed and printed.

    layer1.0.conv1.weight[3,0,1,1]:flip@30      invert bit 30
    fc.bias[7]:stuck0@31                        hold bit 31 at 0; stuck1@31: at 1
    relu_3[5,2,2]:mask@0x40400000               invert the bits set in the mask (several at once)
    input_scale[]:value@0.5                     replace the number; nan and inf are numbers too

Bit 0 is the least significant. The index has one number an axis of the stored tensor; of an activation, one an axis of
one image's row: the batch is left out. Several faults at once are joined by `;` and are one fault of several sites.

`@FILE` reads the same from a JSON file, for tensor names that hold brackets or semicolons: a list of objects

    [{"tensor": "odd[0]:name", "index": [3, 0, 1, 1], "change": "flip@30"}]
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onnxfi.errors import FaultError
from onnxfi.faults.bits import Word
from onnxfi.faults.fault import Change, Fault, Site

FORM = "TENSOR[i,j,...]:CHANGE, CHANGE being flip@BIT, stuck0@BIT, stuck1@BIT, mask@0xHEX or value@NUMBER"

_KINDS = "flip|stuck0|stuck1|mask|value"
_ONE = re.compile(rf"\s*(?P<tensor>.+?)\[(?P<index>[-\d,\s]*)\]:(?P<change>(?:{_KINDS})@[^;\s]*)\s*(?:;|$)", re.DOTALL)
_CHANGE = re.compile(rf"(?P<kind>{_KINDS})@(?P<what>\S+)")
_LARGEST_FILE = 2**26


@dataclass(frozen=True)
class Stored:
    """What a fault needs to know of a tensor: numpy dtype, and shape (of an activation: one image's row)."""

    dtype: str
    shape: tuple[int, ...]


def parse_fault(text: str, tensors: Mapping[str, Stored]) -> Fault:
    """The fault that `text` writes, its indices flat. `tensors`: all that a fault can hit, by name.

    Raises FaultError: not of the form above, a tensor, index or bit that does not exist, a value that its dtype cannot
    hold, one site twice, a file that is not there or not as documented.
    """
    if text.startswith("@"):
        entries = _entries(Path(text[1:]))
    else:
        entries, at = [], 0
        while at < len(text) or not entries:
            found = _ONE.match(text, at)
            if found is None:
                raise FaultError(f"{text[at:].strip()!r} is no fault: it is written {FORM} (or @FILE.json)")
            entries.append((found["tensor"], _numbers(found["index"], text), found["change"]))
            at = found.end()
    return Fault(tuple(_pair(tensor, index, change, tensors) for tensor, index, change in entries))


def format_fault(fault: Fault, tensors: Mapping[str, Stored]) -> str:
    """`fault` in writing. `parse_fault` gives it back, but for names that hold brackets or semicolons.

    Raises FaultError for a tensor not in `tensors`, and for a change that has no form: several stuck bits, say.
    """
    parts = []
    for site, change in fault:
        stored = _stored(site.tensor, tensors)
        index = np.unravel_index(site.index, stored.shape) if stored.shape else ()
        where = ",".join(str(int(i)) for i in index)
        parts.append(f"{site.tensor}[{where}]:{format_change(change, Word(stored.dtype))}")
    return "; ".join(parts)


def parse_change(text: str, word: Word) -> Change:
    """The change of one `word` that `text` (`flip@30`, `value@1e9`, ...) writes. Raises FaultError."""
    found = _CHANGE.fullmatch(text.strip())
    if found is None:
        raise FaultError(f"{text!r} is no change: it is flip@BIT, stuck0@BIT, stuck1@BIT, mask@0xHEX or value@NUMBER")
    kind, what = found["kind"], found["what"]
    if kind == "value":
        return Change.value(_number(what, word), word)
    if kind == "mask":
        mask = _integer(what, text)
        if not 0 <= mask <= word.mask:
            raise FaultError(f"{text!r}: a mask of {word.dtype} has {word.width} bits, at most {word.mask:#x}")
        return Change.mask(mask)
    bit = _integer(what, text)
    if not 0 <= bit < word.width:
        raise FaultError(f"{text!r}: bits of {word.dtype} are 0 to {word.width - 1}, and 0 is the least significant")
    if kind == "flip":
        return Change.flip(bit)
    return Change.stuck_at_1(bit) if kind == "stuck1" else Change.stuck_at_0(bit)


def format_change(change: Change, word: Word) -> str:
    """The change in writing. Raises FaultError where no form of the language says it."""
    keep, toggle = change.keep & word.mask, change.toggle
    fixed = keep ^ word.mask
    if toggle <= word.mask:
        if not fixed:
            return f"flip@{toggle.bit_length() - 1}" if toggle.bit_count() == 1 else f"mask@{toggle:#x}"
        if fixed.bit_count() == 1 and toggle in (0, fixed):
            return f"stuck{int(toggle > 0)}@{fixed.bit_length() - 1}"
        if fixed == word.mask:
            value = word.values(np.array([toggle], word.unsigned))[0]
            written = repr(int(value) if word.mantissa is None else float(value))
            if parse_change(f"value@{written}", word).toggle == toggle:  # not so for most of the many NaN
                return f"value@{written}"
    raise FaultError(f"a change that keeps {keep:#x} and toggles {toggle:#x} of {word.dtype} has no written form")


def _entries(path: Path) -> list[tuple[str, Sequence[int], str]]:
    where = f"the fault file {path}"
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise FaultError(f"{where} is larger than 64 MiB, which no list of faults for one model is")
        given = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FaultError(f"{where} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise FaultError(f"{where} is not JSON: {error}") from error
    form = '{"tensor": NAME, "index": [i, j, ...], "change": "flip@30"}'
    if not isinstance(given, list) or not given:
        raise FaultError(f"{where} holds no list of objects {form}")
    entries: list[tuple[str, Sequence[int], str]] = []
    for number, entry in enumerate(given, 1):
        ok = isinstance(entry, dict) and set(entry) == {"tensor", "index", "change"}
        ok = ok and isinstance(entry["tensor"], str) and isinstance(entry["change"], str)
        ok = ok and isinstance(entry["index"], list) and all(type(i) is int for i in entry["index"])
        if not ok:
            raise FaultError(f"{where}: entry {number} is not of the form {form}")
        entries.append((entry["tensor"], entry["index"], entry["change"]))
    return entries


def _pair(tensor: str, index: Sequence[int], change: str, tensors: Mapping[str, Stored]) -> tuple[Site, Change]:
    stored = _stored(tensor, tensors)
    shape = "[" + ",".join(map(str, stored.shape)) + "]"
    written = f"{tensor}[{','.join(map(str, index))}]"
    if len(index) != len(stored.shape):
        raise FaultError(f"{written}: {tensor!r} has {len(stored.shape)} axes, shape {shape}, not {len(index)}")
    for axis, (i, size) in enumerate(zip(index, stored.shape, strict=True)):
        if not 0 <= i < size:
            raise FaultError(f"{written}: index {i} on axis {axis} is not within 0 to {size - 1} of shape {shape}")
    try:
        made = parse_change(change, Word(stored.dtype))
    except FaultError as error:
        raise FaultError(f"{written}: {error}") from error
    flat = 0
    for i, size in zip(index, stored.shape, strict=True):
        flat = flat * size + i
    return Site(tensor, flat), made


def _stored(tensor: str, tensors: Mapping[str, Stored]) -> Stored:
    if tensor in tensors:
        return tensors[tensor]
    near = difflib.get_close_matches(tensor, tensors, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "`onnxfi show MODEL` lists what there is"
    raise FaultError(f"the model has no tensor {tensor!r} that a fault could hit: {hint}")


def _numbers(text: str, whole: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    if not all(re.fullmatch(r"-?\d{1,18}", part) for part in parts):
        raise FaultError(f"the index [{text}] in {whole!r} is not a list of whole numbers")
    return [int(part) for part in parts]


def _integer(text: str, whole: str) -> int:
    if re.fullmatch(r"0[xX][0-9a-fA-F]{1,16}|0[bB][01]{1,64}|\d{1,20}", text) is None:
        raise FaultError(f"{whole!r}: {text!r} is not a whole number, decimal, 0x... or 0b...")
    return int(text, 0) if text[:2].lower() in ("0x", "0b") else int(text)


def _number(text: str, word: Word) -> float | int:
    """A value that the dtype can hold: a float of its range, or a whole number of it."""
    if word.mantissa is None:
        if re.fullmatch(r"[-+]?\d{1,20}", text) is None:
            raise FaultError(f"{text!r} is not a whole number, as values of {word.dtype} are")
        return int(text)
    try:
        number = float(text)
    except ValueError as error:
        raise FaultError(f"{text!r} is not a number") from error
    with np.errstate(over="ignore"):
        held = float(np.array(number).astype(np.dtype(word.dtype)))
    if math.isfinite(number) and math.isinf(held):
        raise FaultError(f"{text} is beyond the largest {word.dtype}; write inf if infinity is meant")
    if math.isinf(number) and "inf" not in text.lower():
        raise FaultError(f"{text} is beyond the largest float64; write inf if infinity is meant")
    return number
