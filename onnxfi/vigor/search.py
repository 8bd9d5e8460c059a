"""The search: where on the line of values does the answer begin to change, for many sites and images at once.

Of each pair (site, image) the values that its faults can make are known and sorted. It is taken that once a value
changes the answer, all values farther on the same side do (which `audit` measures). So each side is searched over real
values, with no rounding.

- The farthest first. If it is safe and leaves most of the margin between the first class and the next, the side is.
- If it is safe but no more than that, or critical, one close before it (the next, or of a long list the sixteenth
  part), for mostly the top exponent bit alone is critical. A farthest value that is safe and the one before it prove a
  side together.
- Then the place where the margin would be used up if it shrank in a straight line between a safe value and a critical
  one; halves where that line is not known or has misled.

A deviation that is negligible is never run: rounding moves the largest word of the tensor as far. All open sides take
one step a round, in one batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.vigor.order import Order

Keys = NDArray[Any]
Places = NDArray[np.int64]
Flags = NDArray[np.bool_]

_ENOUGH = 0.75  # of the margin left: a side whose farthest value leaves so much is safe
_LEAPS = 4  # of so many steps, one is a half


@dataclass(frozen=True)
class Answers:
    """Of values that were run, (T,): whether they are critical; `room`: the margin that they leave between the golden
    class and the next, as a share of the fault-free one, NaN where it is not known."""

    critical: Flags
    room: NDArray[np.float64]


Ask = Callable[[Places, Keys], Answers]
"""Answers to values: rows (T,) of the lists, and keys (T,)."""


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

    def critical(self, keys: Keys) -> Flags:
        """Which of `keys` (P, ...), finite ones, are critical; same shape."""
        shape = (-1, *(1,) * (keys.ndim - 1))
        lower, upper, least, most = (b.reshape(shape) for b in (self.lower, self.upper, self.least, self.most))
        return np.asarray(((keys <= lower) & (keys >= least)) | ((keys >= upper) & (keys <= most)))


class Sides:
    """Two sides a row, down from the fault-free value and up: place j of a side is at `origin + step * j` of its row.

    Only finite values are on them, and none within `negligible` of the fault-free one or between the keys `settled`.
    lists: keys (P, M), each row sorted; golden: keys (P,) of the fault-free values.
    """

    def __init__(
        self,
        order: Order,
        lists: Keys,
        golden: Keys,
        negligible: float,
        settled: tuple[Keys, Keys] | None = None,
    ) -> None:
        self.order, self.lists = order, lists
        rows = np.arange(len(lists))
        low, high = _around(order, golden, negligible)
        if settled is not None:
            low, high = np.minimum(low, settled[0]), np.maximum(high, settled[1])
        first = count(lists, rows, np.full(len(rows), order.below), right=True)
        left, right = count(lists, rows, low, right=False), count(lists, rows, high, right=True)
        last = count(lists, rows, np.full(len(rows), order.above), right=False)
        self.row, self.step = np.tile(rows, 2), np.repeat(np.array([-1, 1]), len(rows))
        self.origin = np.concatenate([left - 1, right])
        self.length: Places = np.maximum(np.concatenate([left - first, last - right]), 0)
        self.golden = np.tile(order.values(golden).astype(np.float64), 2)

    def keys(self, side: Places, place: Places) -> Keys:
        """The keys at `place` (T,) of sides (T,); any where there is no such place."""
        at = self.origin[side] + self.step[side] * place
        return np.asarray(self.lists[self.row[side], np.clip(at, 0, self.lists.shape[1] - 1)])

    def alike(self, side: Places, keys: Keys) -> tuple[Places, Places]:
        """The first and the last place that hold `keys` (T,): equal values have one answer."""
        low = count(self.lists, self.row[side], keys, right=False)
        high = count(self.lists, self.row[side], keys, right=True) - 1
        up, origin, step = self.step[side] > 0, self.origin[side], self.step[side]
        return (np.where(up, low, high) - origin) * step, (np.where(up, high, low) - origin) * step

    def values(self, keys: Keys) -> NDArray[np.float64]:
        """The numbers behind `keys`."""
        return np.asarray(self.order.values(keys).astype(np.float64))


def search(
    order: Order,
    lists: Keys,
    golden: Keys,
    negligible: float,
    ask: Ask,
    settled: tuple[Keys, Keys] | None = None,
) -> Found:
    """Bounds of every list: keys (P, M), each row sorted, around keys (P,) of the fault-free values.

    Deviations of at most `negligible` are not run, nor what lies between the keys `settled` (P,), which is safe.
    """
    sides = Sides(order, lists, golden, negligible, settled)
    length = sides.length
    safe, critical, steps = np.full(len(length), -1), length.copy(), np.zeros(len(length), np.int64)
    ends = length.copy()  # of what is not known to be safe again
    line = _Lines(sides)
    while len(side := np.flatnonzero(critical - safe > 1)):
        place = _next(safe[side], critical[side], length[side], steps[side])
        place = line.place(side, place, safe[side], critical[side], steps[side])
        keys = sides.keys(side, place)
        answers = ask(sides.row[side], keys)
        wrong = answers.critical
        steps[side] += 1
        near, far = sides.alike(side, keys)
        first, second = steps[side] == 1, steps[side] == 2
        # A farthest value that is safe is set apart and the one before it asked: if that is safe too, the side is.
        apart = ~wrong & first
        ends[side] = np.where(apart, near, ends[side])
        proven = ~wrong & second & (ends[side] < length[side])
        critical[side] = np.where(wrong | apart, near, critical[side])
        safe[side] = np.where(wrong | apart, safe[side], np.where(proven, critical[side], far))
        enough = side[apart & (answers.room >= _ENOUGH)]
        safe[enough] = critical[enough]
        line.learn(side[~apart], keys[~apart], wrong[~apart], answers.room[~apart])
    none = critical >= ends
    every = np.arange(len(length))
    open_ends = np.repeat(np.array([order.below, order.above]), len(lists))
    bound, outer = sides.keys(every, critical).astype(np.int64), sides.keys(every, ends - 1).astype(np.int64)
    lower, upper = np.where(none, open_ends, bound).reshape(2, -1)
    least, most = np.where(ends == length, open_ends, outer).reshape(2, -1)
    return Found(lower, upper, least, most, steps.reshape(2, -1).sum(axis=0))


class _Lines:
    """For each side the innermost critical value known and the outermost safe one, with the room that they leave."""

    def __init__(self, sides: Sides) -> None:
        self._sides = sides
        self._safe, self._safe_room = sides.golden.copy(), np.ones(len(sides.golden))
        self._wrong, self._wrong_room = (np.full(len(sides.golden), np.nan) for _ in range(2))

    def learn(self, side: Places, keys: Keys, wrong: Flags, room: NDArray[np.float64]) -> None:
        """Values of sides (T,) that were run."""
        values = self._sides.values(keys)
        self._safe[side[~wrong]], self._safe_room[side[~wrong]] = values[~wrong], room[~wrong]
        self._wrong[side[wrong]], self._wrong_room[side[wrong]] = values[wrong], room[wrong]

    def place(self, side: Places, other: Places, safe: Places, critical: Places, steps: Places) -> Places:
        """Where on sides (T,) no room would be left, on a straight line; `other` where that says nothing.

        By turns the first place beyond it and the last one before it, for those two settle a side.
        """
        sides, order = self._sides, self._sides.order
        near, wide = self._safe[side], self._wrong[side] - self._safe[side]
        room, fall = self._safe_room[side], self._safe_room[side] - self._wrong_room[side]
        with np.errstate(all="ignore"):
            crossing = near + wide * (room / fall)
            known = np.isfinite(crossing) & (fall > 0) & (room >= 0) & (steps >= 2) & (steps % _LEAPS != 1)
        if not known.any():
            return other
        word = np.where(known, crossing, near).astype(order.values(sides.lists[:1, 0]).dtype)
        keys, row, up = order.keys(word), sides.row[side], sides.step[side] > 0
        beyond = np.where(up, count(sides.lists, row, keys, right=False), count(sides.lists, row, keys, right=True) - 1)
        place = (beyond - sides.origin[side]) * sides.step[side] - (steps % 2 == 0)
        return np.asarray(np.where(known, np.clip(place, safe + 1, critical - 1), other))


def _next(safe: Places, critical: Places, length: Places, steps: Places) -> Places:
    """The place to try: the last one, one close before it, then halfway between what is known."""
    close = np.maximum(critical - np.maximum(1, length // 16), safe + 1)
    place = np.where(steps == 0, length - 1, (safe + critical) // 2)
    return np.asarray(np.where((steps == 1) & (close < critical), close, place))


def _around(order: Order, golden: Keys, negligible: float) -> tuple[Keys, Keys]:
    """Keys (P,) of the fault-free values less and plus a negligible deviation."""
    if order.word.mantissa is None:
        return golden, golden
    values = order.values(golden)
    with np.errstate(all="ignore"):
        low, high = (
            order.keys((values.astype(np.float64) + d).astype(values.dtype)) for d in (-negligible, negligible)
        )
    return np.minimum(low, golden), np.maximum(high, golden)


def count(lists: Keys, row: Places, keys: NDArray[Any], right: bool) -> Places:
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
