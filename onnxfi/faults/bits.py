"""Bits of stored numbers: every dtype seen as unsigned words, so that NaN payloads and denormals pass untouched."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onnxfi.errors import FaultError

# dtype: (width in bits, bits of the mantissa; None for an integer)
_LAYOUTS: dict[str, tuple[int, int | None]] = {
    "float64": (64, 52),
    "float32": (32, 23),
    "float16": (16, 10),
    "bfloat16": (16, 7),
    "int8": (8, None),
    "uint8": (8, None),
    "int16": (16, None),
    "uint16": (16, None),
    "int32": (32, None),
    "uint32": (32, None),
    "int64": (64, None),
    "uint64": (64, None),
}


@dataclass(frozen=True)
class Word:
    """The stored form of one dtype, by its numpy name. `FaultError` for a dtype that has no bit codec.

    bfloat16 is a dtype of numpy only once ml_dtypes has been imported (onnx does).
    """

    dtype: str

    def __post_init__(self) -> None:
        if self.dtype not in _LAYOUTS:
            raise FaultError(f"bits of dtype {self.dtype!r} cannot be changed; it must be one of {', '.join(_LAYOUTS)}")

    @property
    def width(self) -> int:
        """Bits of one word; bit 0 is the least significant."""
        return _LAYOUTS[self.dtype][0]

    @property
    def mantissa(self) -> int | None:
        """Bits of the mantissa, None for an integer dtype."""
        return _LAYOUTS[self.dtype][1]

    @property
    def mask(self) -> int:
        """A word of ones."""
        return (1 << self.width) - 1

    @property
    def unsigned(self) -> np.dtype[np.unsignedinteger[Any]]:
        """The unsigned dtype of the same width."""
        return np.dtype(f"uint{self.width}")

    def words(self, values: NDArray[Any]) -> NDArray[np.unsignedinteger[Any]]:
        """The bits of `values` (any shape, this dtype): a view, same shape, dtype `unsigned`."""
        if values.dtype != np.dtype(self.dtype):
            raise FaultError(f"words of {self.dtype} were asked of an array of {values.dtype}")
        return values.view(self.unsigned)

    def values(self, words: NDArray[np.unsignedinteger[Any]]) -> NDArray[Any]:
        """The numbers behind `words` (any shape, dtype `unsigned`): a view, same shape, this dtype."""
        if words.dtype != self.unsigned:
            raise FaultError(f"values of {self.dtype} were asked of words of {words.dtype}, not {self.unsigned}")
        return words.view(np.dtype(self.dtype))

    def encode(self, number: float | int) -> int:
        """The word nearest to one number; `FaultError` where an integer dtype cannot hold it."""
        if self.mantissa is None:
            limits = np.iinfo(self.dtype)
            if not (limits.min <= number <= limits.max and int(number) == number):
                raise FaultError(f"{number} is not a value of {self.dtype} ({limits.min} to {limits.max})")
            return int(number) & self.mask
        try:
            exact = np.array([number], np.float64)
        except OverflowError:  # an integer of more than 308 digits
            exact = np.array([np.inf if number > 0 else -np.inf])
        with np.errstate(over="ignore"):
            once = _to_odd(exact) if self.dtype == "bfloat16" else exact  # float64 goes to bfloat16 by way of float32
            return int(self.words(once.astype(np.dtype(self.dtype)))[0])

    def check_bits(self, bits: Collection[int]) -> tuple[int, ...]:
        """`bits` from high to low, each once; `FaultError` for none at all or one that the word does not have."""
        wrong = [bit for bit in bits if not 0 <= bit < self.width]
        if wrong or not bits:
            what = f"bit {wrong[0]} does not exist in" if wrong else "no bit was chosen of"
            raise FaultError(f"{what} {self.dtype}: its bits are 0 to {self.width - 1}")
        return tuple(sorted(set(bits), reverse=True))


def bit_classes(word: Word, bits: Collection[int] | None = None) -> tuple[tuple[int, ...], ...]:
    """Bit positions that share a stratum, from high to low, restricted to `bits` (default: all).

    A float's sign and exponent bits stand alone and its mantissa is one class: in published results even its top bit is
    critical in 0.02 % of the trials, which no stratum of its own would repay. Of an integer the top four bits stand
    alone and the rest fall into pools of 4, 8, 16 and 32.
    """
    asked = word.check_bits(range(word.width) if bits is None else bits)
    if word.mantissa is not None:
        edges = [*range(word.width, word.mantissa - 1, -1), 0]
    else:
        edges = [word.width - alone for alone in range(5)]
        pool = 4
        while edges[-1] > 0:
            edges.append(edges[-1] - pool)
            pool *= 2
    classes = (tuple(bit for bit in asked if low <= bit < high) for high, low in pairwise(edges))
    return tuple(members for members in classes if members)


def bit_set(words: ArrayLike, bit: int) -> NDArray[np.bool_]:
    """Where `bit` of unsigned `words` is 1; bool, same shape."""
    array = np.asarray(words)
    return np.asarray((array >> array.dtype.type(bit)) & array.dtype.type(1) == 1)


def _to_odd(numbers: NDArray[np.float64]) -> NDArray[np.float32]:
    """float32 `numbers`, rounded, where not exact, to the neighbour whose last bit is 1: rounding that again is as good
    as rounding once (Boldo and Melquiond, IEEE Transactions on Computers 57, 2008)."""
    near = numbers.astype(np.float32)
    beyond = np.nextafter(near, np.where(numbers > near, np.inf, -np.inf).astype(np.float32))
    return np.asarray(np.where((near != numbers) & ~bit_set(near.view(np.uint32), 0), beyond, near), np.float32)
