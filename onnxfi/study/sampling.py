"""Draws without replacement that no library's change can change: a keyed permutation of our own, version 1."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

VERSION = 1
_ROUNDS = 12
_LARGEST = 1 << 62


class Permutation:
    """A permutation of [0, size), chosen by `seed` and `stream` (a stratum's number): its first n values are a simple
    random sample of n without replacement, for every n. size is 1 to 2**62.

    A Feistel network over pairs (left, right) of [0, a) x [0, b) with a b >= size and both near its root: each round
    adds a keyed hash of one half to the other, modulo its range, which can be undone whatever the hash. Values beyond
    size are permuted again until they fall inside (cycle walking).
    """

    def __init__(self, size: int, seed: int, stream: int) -> None:
        if not 1 <= size <= _LARGEST:
            raise ValueError(f"a permutation of {size} values: 1 to 2**62 can be drawn from")
        self.size = size
        root = math.isqrt(size - 1) + 1
        self._a, self._b = np.uint64(root), np.uint64(-(-size // root))
        name = f"onnxfi permutation {VERSION} size {size} seed {seed} stream {stream}".encode()
        self._keys = np.frombuffer(hashlib.shake_256(name).digest(16 * _ROUNDS), "<u8").reshape(_ROUNDS, 2)

    def at(self, index: NDArray[Any]) -> NDArray[np.uint64]:
        """The values, uint64, at places `index` (any integer dtype, 1-D, within [0, size))."""
        values = np.asarray(index).astype(np.uint64)
        if values.size and int(values.max()) >= self.size:
            raise ValueError(f"place {int(values.max())} of a permutation of {self.size} values does not exist")
        values = self._once(values)
        while (outside := np.flatnonzero(values >= self.size)).size:
            values[outside] = self._once(values[outside])
        return values

    def _once(self, values: NDArray[np.uint64]) -> NDArray[np.uint64]:
        left, right = np.divmod(values, self._b)
        for even, odd in self._keys:
            left = (left + _hash(right ^ even) % self._a) % self._a
            right = (right + _hash(left ^ odd) % self._b) % self._b
        return np.asarray(left * self._b + right, np.uint64)


def _hash(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): a bijective mix of 64 bits."""
    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
