"""Many sites settled by one run: what goes at least as far as each of them, and leaves the answer nearly as it was.

The search takes it that what a value farther out leaves safe, a nearer one does. Here the same is taken of several
sites at once, on one image and to one side:

- weights of one filter that multiply words that are not negative: the channel is moved, position by position, as far as
  any of them moves it;
- words of an activation, neighbours: all of them are changed.

Where that leaves the margin nearly as it was, these sites are safe as far as they went; else fewer of them are tried.
What is not settled is searched site by site. Each side is tried at two lengths: up to its farthest finite value, if all
that this does is to mute a channel (an activation function cuts off what goes down), and up to the farthest in
proportion to the words around, which leaves the exponent's top bit to the search.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.engine.deviation import Deviations
from onnxfi.vigor.order import Order

Array = NDArray[Any]
Places = NDArray[np.int64]
Numbers = NDArray[np.float64]

_ENOUGH, _MUCH = 0.75, 1.25  # of the margin: what must be left, and what may be
_PROPORTION = 32.0  # times the largest word of the tensor
_WORDS = 16  # neighbours that are changed at once
_FEWEST = 3  # sites that are worth a run
_ROUNDS = 3  # of trying fewer
_PILOT, _PAYS = 8, 5.0  # one group of so many is tried first: the others if it settles so many sides a run
_HELD = 1 << 22  # words multiplied that are held at a time


@dataclass(frozen=True)
class Settled:
    """What is safe of pairs (P,): all keys from `low` to `high`, the fault-free one among them. `runs` told so."""

    low: Array
    high: Array
    runs: int = 0


def settle(engine: Deviations, region: int, image: Places, site: Places, golden: Array, keys: Array) -> Settled:
    """What pairs of site and image (P,) of `region` have in common that is safe.

    golden (P,), keys (P, B): of the stored words, and of what each fault makes of them. Nothing is settled but of
    weights of which the engine knows what they move, and of words of an activation.
    """
    order = Order(engine.regions[region].dtype)
    low, high, runs, settled = golden.copy(), golden.copy(), 0, 0
    largest = _PROPORTION * engine.largest(region)
    for rows, sites in _parts(engine, region, image, site):
        mine, stored = keys[rows], golden[rows]
        finite = order.finite(mine)
        near = finite & (np.abs(order.values(np.where(finite, mine, stored[:, None])).astype(np.float64)) <= largest)
        for fit in (finite, near) if sites.mutes else (near,):
            for bound, farthest in ((low, np.minimum), (high, np.maximum)):
                end = farthest.reduce(np.where(fit, mine, stored[:, None]), axis=1)
                deviation = order.values(end).astype(np.float64) - order.values(stored).astype(np.float64)
                open_ = np.flatnonzero(farthest(end, bound[rows]) != bound[rows])
                safe = sites.safe(open_, deviation, muted=fit is finite)
                bound[rows[safe]] = end[safe]
                settled += len(safe)
        runs += sites.runs
        if settled < _PAYS * runs:
            break
    return Settled(low, high, runs)


class _Sites(ABC):
    """Pairs (Q,) that can be tried together where they are of one `group`.

    weight (Q,)  how much a unit of deviation changes; `runs`: that were made
    mutes        whether the farthest values may do no more than mute a channel
    """

    mutes = False

    def __init__(self, engine: Deviations, region: int, image: Places, site: Places, group: Places) -> None:
        self.engine, self.region, self.image, self.site, self.group = engine, region, image, site, group
        self.weight: Numbers = np.ones(len(site))
        self.runs = 0

    def safe(self, rows: Places, deviation: Numbers, muted: bool) -> Places:
        """Which of pairs `rows` (R,) are safe when each is changed by its `deviation` (Q,) together with others.

        `muted`: only where that does no more than mute a channel. Of a group that does too much, those that change
        least are tried again: so many as would leave enough of the margin, if what they do added up.
        """
        safe = [rows[:0]]
        for _ in range(_ROUNDS):
            change = self.weight[rows] * (1.0 if muted else np.abs(deviation[rows]))
            _, group, count = np.unique(self.group[rows], return_inverse=True, return_counts=True)
            at = np.lexsort((change, group))
            at = at[count[group[at]] >= _FEWEST]
            if not len(at):
                break
            rows, change = rows[at], change[at]
            starts = np.flatnonzero(np.diff(group[at], prepend=-1))
            sizes = np.diff(starts, append=len(rows))
            left = np.repeat(self.left(rows, starts, deviation[rows], muted), sizes)
            good = (left >= _ENOUGH) & (left <= _MUCH)
            safe.append(rows[good])
            running = np.cumsum(change)
            running -= np.repeat(running[starts] - change[starts], sizes)
            whole = np.repeat(np.add.reduceat(change, starts), sizes)
            rows = rows[~good & (running * np.abs(1 - left) < (1 - _ENOUGH) * whole)]
        return np.concatenate(safe)

    @abstractmethod
    def left(self, rows: Places, starts: Places, deviation: Numbers, muted: bool) -> Numbers:
        """The share of its margin that each group (G,) leaves, below 0 if the answer changes; NaN where not asked for.

        rows (R,): pairs, group by group, each from its place in `starts` (G,) on, changed by `deviation` (R,).
        """

    def measured(self, records: Array) -> Numbers:
        """The same, of RECORD (G,)."""
        self.runs += len(records)
        with np.errstate(all="ignore"):
            return np.asarray(records["margin"].astype(np.float64) / self.engine.margins[records["image"]])


class _Filters(_Sites):
    """Weights, each group one filter on one image."""

    mutes = True

    def __init__(self, engine: Deviations, region: int, image: Places, site: Places, group: Places) -> None:
        super().__init__(engine, region, image, site, group)
        self._channel = engine.channels(region, site)
        self._words = engine.multiplied(region, image, site)
        self.weight = self._words.sum(axis=1, dtype=np.float64)

    def left(self, rows: Places, starts: Places, deviation: Numbers, muted: bool) -> Numbers:
        farthest = np.minimum if deviation[0] < 0 else np.maximum
        with np.errstate(all="ignore"):
            moves = farthest.reduceat(deviation[:, None] * self._words[rows], starts, axis=0)
        image, channel = (part[rows[starts]] for part in (self.image, self._channel))
        after, before = self.engine.follow(self.region, image, channel, moves)
        asked = np.arange(len(starts))
        if muted:
            between = (after >= np.minimum(before, 0)) & (after <= np.maximum(before, 0))
            asked = np.flatnonzero(between.reshape(len(starts), -1).all(axis=1))
        left = np.full(len(starts), np.nan)
        records = self.engine.replace(self.region, image[asked], channel[asked], after[asked], before[asked])
        left[asked] = self.measured(records)
        return left


class _Words(_Sites):
    """Words of an activation, each group neighbours in one image."""

    def left(self, rows: Places, starts: Places, deviation: Numbers, muted: bool) -> Numbers:
        stored = self.engine.stored(self.region, self.image[rows], self.site[rows])
        words = (stored + deviation).astype(stored.dtype)
        sizes = np.diff(starts, append=len(rows))
        member = starts[:, None] + np.minimum(np.arange(sizes.max()), sizes[:, None] - 1)
        image = self.image[rows[starts]]
        return self.measured(self.engine.put_together(self.region, image, self.site[rows[member]], words[member]))


def _parts(engine: Deviations, region: int, image: Places, site: Places) -> Iterator[tuple[Places, _Sites]]:
    """The pairs that can be tried together: which, and how; in parts that hold whole groups, the pilot first."""
    kind: type[_Sites]
    if engine.moves_channels(region):
        kind, group, held = _Filters, engine.channels(region, site), engine.positions(region)
    elif engine.regions[region].kind == "input" and Order(engine.regions[region].dtype).word.mantissa is not None:
        kind, group, held = _Words, site // _WORDS, 1
    else:
        return
    _, group = np.unique(group * engine.images + image, return_inverse=True)
    pilot = group % _PILOT == 0
    for some in (np.flatnonzero(pilot), np.flatnonzero(~pilot)):
        at = some[np.argsort(group[some], kind="stable")]
        starts = np.flatnonzero(np.diff(group[at], prepend=-1))
        part = starts // max(1, _HELD // held)
        for rows in np.split(at, starts[np.diff(part, prepend=0) > 0]):
            yield rows, kind(engine, region, image[rows], site[rows], group[rows])
