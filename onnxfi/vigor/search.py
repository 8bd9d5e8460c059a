"""The search: where on the line of values does the answer begin to change, for many sites and images at once.

Of each pair (site, image) the values that its faults can make are known and sorted. It is taken that once a value
changes the answer, all values farther on the same side do (which `audit` measures). So each side is bisected over real
values, with no rounding: first the farthest; then one close before it (the next, or of a long list the sixteenth
part), for mostly the top exponent bit alone is critical; if both are safe the whole side is; then halves. All open
sides take one step a round, in one batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[Any]
Places = NDArray[np.int64]
Ask = Callable[[NDArray[np.int64], Keys], NDArray[np.bool_]]
"""Whether values are critical, bool (T,): rows (T,) of the lists, and keys (T,)."""


@dataclass(frozen=True)
class Found:
    """What a search found. A value is critical if its key is at most `lower` or at least `upper` (P,).

    Where no value of a side is critical the bound is the open end of the line. Only values beyond `least` and `most`,
    farther out, are known to be safe again. `tried` (P,): values tried.
    """

    lower: NDArray[np.int64]
    upper: NDArray[np.int64]
    least: NDArray[np.int64]
    most: NDArray[np.int64]
    tried: NDArray[np.int64]

    def critical(self, keys: Keys) -> NDArray[np.bool_]:
        """Which of `keys` (P, ...), finite ones, are critical; same shape."""
        shape = (-1, *(1,) * (keys.ndim - 1))
        lower, upper, least, most = (b.reshape(shape) for b in (self.lower, self.upper, self.least, self.most))
        return np.asarray(((keys <= lower) & (keys >= least)) | ((keys >= upper) & (keys <= most)))


def search(lists: Keys, golden: Keys, below: int, above: int, ask: Ask) -> Found:
    """Bounds of every list.

    lists: keys (P, M), each row sorted; golden: keys (P,) of the fault-free values, which may stand in the lists; only
    keys within (below, above) are tried.
    """
    rows = np.arange(len(lists))
    first = _count(lists, rows, np.full(len(rows), below), right=True)
    left = _count(lists, rows, golden, right=False)
    right = _count(lists, rows, golden, right=True)
    last = _count(lists, rows, np.full(len(rows), above), right=False)
    # Two sides a row, down from the fault-free value and up: place j of a side is at `origin + step * j` of its row.
    row, step = np.tile(rows, 2), np.repeat(np.array([-1, 1]), len(rows))
    origin = np.concatenate([left - 1, right])
    length = np.maximum(np.concatenate([left - first, last - right]), 0)
    safe, critical, steps = np.full(len(row), -1), length.copy(), np.zeros(len(row), np.int64)
    ends = length.copy()  # of what is not known to be safe again
    open_ends = np.repeat(np.array([below, above]), len(rows))
    while len(side := np.flatnonzero(critical - safe > 1)):
        place = _next(safe[side], critical[side], length[side], steps[side])
        keys = lists[row[side], origin[side] + step[side] * place]
        wrong = ask(row[side], keys)
        steps[side] += 1
        # Equal values have one answer: a bound steps over all of them.
        low = _count(lists, row[side], keys, right=False)
        high = _count(lists, row[side], keys, right=True) - 1
        up = step[side] > 0
        near = (np.where(up, low, high) - origin[side]) * step[side]
        far = (np.where(up, high, low) - origin[side]) * step[side]
        # A farthest value that is safe is set apart and the one before it asked: if that is safe too, the side is.
        apart = ~wrong & (steps[side] == 1)
        ends[side] = np.where(apart, near, ends[side])
        proven = ~wrong & (steps[side] == 2) & (ends[side] < length[side])
        critical[side] = np.where(wrong | apart, near, critical[side])
        safe[side] = np.where(wrong | apart, safe[side], np.where(proven, critical[side], far))
    none = critical >= ends
    lower, upper = np.where(none, open_ends, _key(lists, row, origin + step * critical)).reshape(2, -1)
    least, most = np.where(ends == length, open_ends, _key(lists, row, origin + step * (ends - 1))).reshape(2, -1)
    return Found(lower, upper, least, most, steps.reshape(2, -1).sum(axis=0))


def _key(lists: Keys, row: Places, place: Places) -> Places:
    """The keys at `place` (T,) of rows (T,); any where there is no such place."""
    return lists[row, np.clip(place, 0, lists.shape[1] - 1)].astype(np.int64)


def _next(safe: Places, critical: Places, length: Places, steps: Places) -> Places:
    """The place to try: the last one, one close before it, then halfway between what is known."""
    close = np.maximum(critical - np.maximum(1, length // 16), safe + 1)
    place = np.where(steps == 0, length - 1, (safe + critical) // 2)
    return np.asarray(np.where((steps == 1) & (close < critical), close, place))


def _count(lists: Keys, row: Places, keys: NDArray[Any], right: bool) -> Places:
    """How many of the lists' rows `row` (T,) are less than `keys` (T,), or with `right` at most that."""
    size = lists.shape[1]
    low, high = np.zeros(len(row), np.int64), np.full(len(row), size, np.int64)
    while (open_ := low < high).any():
        middle = (low + high) // 2
        value = lists[row, np.minimum(middle, size - 1)]
        before = (value <= keys) if right else (value < keys)
        low = np.where(open_ & before, middle + 1, low)
        high = np.where(open_ & ~before, middle, high)
    return low
