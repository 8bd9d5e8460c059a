"""A fault is a set of (site, change) pairs; a change is pure arithmetic on a stored word."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.errors import FaultError
from onnxfi.faults.bits import Word

ONES = (1 << 64) - 1


def _bit(position: int) -> int:
    if not 0 <= position < 64:
        raise FaultError(f"bit {position} does not exist: bits are 0 to 63, and 0 is the least significant")
    return 1 << position


@dataclass(frozen=True)
class Change:
    """new = (old & keep) ^ toggle. `keep` may hold ones above the word's width; `toggle` may not."""

    keep: int
    toggle: int

    def __post_init__(self) -> None:
        if not (0 <= self.keep <= ONES and 0 <= self.toggle <= ONES):
            raise FaultError(f"a change holds two masks of 64 bits, not {self.keep:#x} and {self.toggle:#x}")

    @classmethod
    def flip(cls, *bits: int) -> Change:
        """Invert each of `bits`."""
        toggle = 0
        for bit in bits:
            toggle |= _bit(bit)
        return cls(ONES, toggle)

    @classmethod
    def stuck_at_0(cls, bit: int) -> Change:
        """Hold `bit` at 0."""
        return cls(ONES ^ _bit(bit), 0)

    @classmethod
    def stuck_at_1(cls, bit: int) -> Change:
        """Hold `bit` at 1."""
        return cls(ONES ^ _bit(bit), _bit(bit))

    @classmethod
    def mask(cls, bits: int) -> Change:
        """Invert every bit that is set in `bits` (a multi-bit upset)."""
        return cls(ONES, bits)

    @classmethod
    def value(cls, number: float | int, word: Word) -> Change:
        """Replace the whole word by the one nearest to `number`."""
        return cls(0, word.encode(number))

    def apply(self, words: NDArray[np.unsignedinteger[Any]]) -> NDArray[np.unsignedinteger[Any]]:
        """The changed words: a new array, shape and unsigned dtype of `words`.

        `FaultError` where the change touches a bit that the words do not have.
        """
        kind = words.dtype.type
        width = words.dtype.itemsize * 8
        ones = ONES >> (64 - width)
        if self.toggle > ones or self.keep >> width not in (0, ONES >> width):
            raise FaultError(
                f"the change keep {self.keep:#x}, toggle {self.toggle:#x} does not fit words of {words.dtype}"
            )
        return np.asarray((words & kind(self.keep & ones)) ^ kind(self.toggle))


@dataclass(frozen=True)
class Site:
    """One stored number: flat index into the stored tensor (of an activation: into one image's row, no batch)."""

    tensor: str
    index: int

    def __post_init__(self) -> None:
        if self.index < 0:
            raise FaultError(f"index {self.index} into {self.tensor!r} is negative")


@dataclass(frozen=True)
class Fault:
    """Pairs of site and change, mostly one; each site at most once."""

    pairs: tuple[tuple[Site, Change], ...]

    def __post_init__(self) -> None:
        if not self.pairs:
            raise FaultError("a fault changes at least one site")
        seen: set[Site] = set()
        for site, _ in self.pairs:
            if site in seen:
                raise FaultError(f"a fault changes {site.tensor}[{site.index}] twice; join the changes into one mask")
            seen.add(site)

    def __iter__(self) -> Iterator[tuple[Site, Change]]:
        return iter(self.pairs)
