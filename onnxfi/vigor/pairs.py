"""Pairs of site and image: which of their faults are critical, found with a few runs each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.vigor.descent import descend
from onnxfi.vigor.order import Order
from onnxfi.vigor.search import Answers, Flags, Found, search

Array = NDArray[Any]
Try = Callable[[NDArray[np.int64], Array], Answers]
"""Answers to values: pairs (T,) and what stands in their words (T,)."""
_ROUNDING = 2.0**-23  # of the largest word: so far rounding moves it, and what moves a word no farther is safe


@dataclass(frozen=True)
class Audit:
    """What trying every value of some pairs found. Counts add.

    pairs, values   tried whole
    sides           sides (two a pair) that have a critical value
    broken          of these, sides with a safe value beyond a critical one: the search's assumption fails there
    faults          of those pairs; `missed` of them are critical and were called safe, `blamed` the other way round
    """

    pairs: int = 0
    values: int = 0
    sides: int = 0
    broken: int = 0
    faults: int = 0
    missed: int = 0
    blamed: int = 0

    def __add__(self, other: Audit) -> Audit:
        return Audit(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))

    @property
    def error(self) -> float | None:
        """VF found less VF measured, over the audited pairs."""
        return (self.blamed - self.missed) / self.faults if self.faults else None


def decide(
    order: Order,
    golden: Array,
    keys: Array,
    attempt: Try,
    largest: float = 0.0,
    one_by_one: bool = False,
    settled: tuple[Array, Array] | None = None,
) -> tuple[Found, Flags]:
    """Bounds of each pair, and which of its faults are critical.

    golden: keys (P,); keys (P, ..., B): of what each fault makes of the word; `largest`: size of the largest word
    around; `settled`: keys (P,) between which all is known to be safe. Infinities and NaN have no place on the line:
    each of them that occurs is run once.
    """
    flat = keys.reshape(len(keys), -1)
    negligible = _ROUNDING * largest

    def ask(row: NDArray[np.int64], changed: Array) -> Answers:
        return attempt(row, order.values(changed))

    if one_by_one:
        at = np.argsort(flat, axis=1)
        lists = np.take_along_axis(flat, at, axis=1)
        found, marked = descend(order, lists, golden, largest, negligible, ask)
        critical: Flags = np.empty(flat.shape, bool)
        np.put_along_axis(critical, at, marked, axis=1)
        critical = critical.reshape(keys.shape)
    else:
        lists = np.sort(flat, axis=1)
        found = search(order, lists, golden, negligible, ask, settled)
        critical = found.critical(keys)
    tried = found.tried.copy()
    if not order.finite(lists[:, [0, -1]]).all():
        for wild in (keys == order.above, keys == order.below, (keys > order.above) | (keys < order.below)):
            flat = wild.reshape(len(keys), -1)
            row = np.flatnonzero(flat.any(axis=1))
            one = keys.reshape(len(keys), -1)[row, flat[row].argmax(axis=1)]
            answer = np.zeros(len(keys), bool)
            answer[row] = attempt(row, order.values(one)).critical
            critical = np.where(wild, answer.reshape(-1, *(1,) * (keys.ndim - 1)), critical)
            tried[row] += 1
    return replace(found, tried=tried), np.asarray(critical)


def audit(order: Order, golden: Array, keys: Array, critical: Flags, attempt: Try) -> tuple[Audit, Flags]:
    """Try every finite value of the pairs (P,), and see what the search made of them; also the measured truth."""
    flat, said = keys.reshape(len(keys), -1), critical.reshape(len(keys), -1)
    row, column = np.nonzero(order.finite(flat) & (flat != golden[:, None]))
    pairs, inverse = np.unique(np.stack([row, flat[row, column].astype(np.int64)]), axis=1, return_inverse=True)
    answer = attempt(pairs[0], order.values(pairs[1].astype(order.dtype))).critical
    truth = said.copy()
    truth[row, column] = answer[inverse.reshape(-1)]
    sides = broken = 0
    for up in (False, True):
        mine = (pairs[1] > golden[pairs[0]]) == up
        at, wrong = pairs[0][mine], answer[mine]
        outward = pairs[1][mine] if up else -pairs[1][mine]  # a difference of two keys of 64 bits may not fit
        nearest = np.full(len(keys), np.iinfo(np.int64).max)
        np.minimum.at(nearest, at[wrong], outward[wrong])
        farthest = np.full(len(keys), np.iinfo(np.int64).min)
        np.maximum.at(farthest, at[~wrong], outward[~wrong])
        some = nearest < np.iinfo(np.int64).max
        sides += int(some.sum())
        broken += int((some & (farthest > nearest)).sum())
    missed, blamed = int((truth & ~said).sum()), int((said & ~truth).sum())
    return Audit(len(keys), len(answer), sides, broken, flat.size, missed, blamed), truth.reshape(keys.shape)
