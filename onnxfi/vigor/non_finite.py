"""Which critical faults leave no answer at all: a logit that is NaN or infinite.

The search asks for critical values only. It has tried the farthest value of each side, though, and mostly one close to
it; only where the farthest leaves no answer is the value from which on this is so looked for, between what is known.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.vigor.order import Order
from onnxfi.vigor.pairs import Try
from onnxfi.vigor.search import Answers, Flags, search

Keys = NDArray[Any]
Places = NDArray[np.int64]


class Tried:
    """Values that were tried, and whether all logits were finite."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self._row: list[Places] = []
        self._key: list[Keys] = []
        self._wild: list[Flags] = []

    def add(self, row: Places, key: Keys, wild: Flags) -> None:
        """Rows (T,), keys (T,) of the values that were tried, and whether a logit was NaN or infinite."""
        self._row.append(row)
        self._key.append(key)
        self._wild.append(wild)

    def wild(self, golden: Keys, keys: Keys, whole: Flags, attempt: Try) -> tuple[Flags, Places]:
        """Which faults leave no answer, (P, ..., B), and how many values more were tried for each pair, (P,).

        golden, keys: as `onnxfi.vigor.pairs.decide` has them; whole (P,): pairs of which every value was tried;
        attempt: tries, and tells this object.
        """
        more, flat = np.zeros(len(keys), np.int64), keys.reshape(len(keys), -1)
        if not any(wild.any() for wild in self._wild):
            return np.zeros(keys.shape, bool), more
        row, key, wild = (np.concatenate(part) for part in (self._row, self._key, self._wild))
        found = self._by_kind(flat, row, key, wild)
        mine = np.unique(row[wild & self.order.finite(key)])
        mine = mine[~whole[mine]]
        if len(mine):
            found[mine], more[mine] = self._beyond(mine, golden, flat, found[mine], attempt)
        exact = np.unique(row[wild & whole[row]])
        if len(exact):
            found[exact] = self._exactly(exact, flat, found[exact], row, key, wild)
        return found.reshape(keys.shape), more

    def _by_kind(self, flat: Keys, row: Places, key: Keys, wild: Flags) -> Flags:
        """Infinities and NaN, each of which was tried once a pair that has them."""
        found = np.zeros(flat.shape, bool)
        order = self.order
        if order.finite(key[wild]).all():
            return found
        for of in (order.above, order.below, None):
            mine, theirs = (
                (part > order.above) | (part < order.below) if of is None else part == of for part in (key, flat)
            )
            answer = np.zeros(len(flat), bool)
            answer[row[mine & wild]] = True
            found |= theirs & answer[:, None]
        return found

    def _beyond(self, mine: Places, golden: Keys, flat: Keys, found: Flags, attempt: Try) -> tuple[Flags, Places]:
        """Of pairs `mine`: from which finite value on, to each side, there is no answer."""
        order, more = self.order, np.zeros(len(mine), np.int64)
        place = np.full(len(flat), -1)
        place[mine] = np.arange(len(mine))
        row, key, wild = (np.concatenate(part) for part in (self._row, self._key, self._wild))
        known = (place[row] >= 0) & order.finite(key)
        at, key, wild = place[row[known]], key[known].astype(np.int64), wild[known]
        # There is no answer from `low` down and from `high` up; there is one from `safe_low` to `safe_high`.
        safe_low = golden[mine].astype(np.int64)
        low, high, safe_high = np.full(len(mine), order.below), np.full(len(mine), order.above), safe_low.copy()
        up = key > safe_low[at]
        np.maximum.at(low, at[wild & ~up], key[wild & ~up])
        np.minimum.at(high, at[wild & up], key[wild & up])
        np.minimum.at(safe_low, at[~wild & ~up], key[~wild & ~up])
        np.maximum.at(safe_high, at[~wild & up], key[~wild & up])

        def ask(row: Places, keys: Keys) -> Answers:
            answer = np.asarray((keys <= low[row]) | (keys >= high[row]))
            open_ = np.flatnonzero(~answer & ((keys < safe_low[row]) | (keys > safe_high[row])))
            if len(open_):
                before = len(self._row)
                attempt(mine[row[open_]], order.values(keys[open_]))
                answer[open_] = np.concatenate(self._wild[before:])
                np.add.at(more, row[open_], 1)
            return Answers(answer, np.full(len(row), np.nan))

        some = flat[mine]
        bounds = search(order, np.sort(some, axis=1), golden[mine], 0.0, ask)
        return np.where(order.finite(some), bounds.critical(some), found), more

    @staticmethod
    def _exactly(exact: Places, flat: Keys, found: Flags, row: Places, key: Keys, wild: Flags) -> Flags:
        """Of pairs `exact`, tried whole: each value as it was found."""
        among = np.isin(row, exact)
        row, key, wild = row[among], key[among], wild[among]
        some = flat[exact]
        values, rank = np.unique(np.concatenate([key, some.reshape(-1)]), return_inverse=True)
        code = np.concatenate([row, np.repeat(exact, some.shape[1])]) * len(values) + rank.reshape(-1)
        tried, asked = code[: len(key)], code[len(key) :]
        seen, bad = np.isin(asked, tried), np.isin(asked, tried[wild])
        return np.where(seen.reshape(some.shape), bad.reshape(some.shape), found)
