"""Values tried one by one, from the farthest in: for layers that multiply pixels.

There a deviation moves many channels in many directions at once, and answers change to and fro as it grows, more than
anywhere else. So nothing is concluded from one value about another, until a deviation that is small beside the words
around it leaves most of the margin: what is smaller still is safe.
"""

from __future__ import annotations

import numpy as np

from onnxfi.vigor.order import Order
from onnxfi.vigor.search import Ask, Flags, Found, Keys, Places, Sides

_SMALL, _ENOUGH = 0.25, 0.75  # of the largest word; of the margin


def descend(
    order: Order, lists: Keys, golden: Keys, largest: float, negligible: float, ask: Ask
) -> tuple[Found, Flags]:
    """Bounds of every list, and which of its values, (P, M), are critical.

    lists: keys (P, M), each row sorted; golden: keys (P,) of the fault-free values; `largest`: of the tensor's words.
    """
    sides = Sides(order, lists, golden, negligible)
    critical = np.zeros(lists.shape, bool)
    place, tried = sides.length - 1, np.zeros(len(sides.length), np.int64)
    while len(side := np.flatnonzero(place >= 0)):
        keys = sides.keys(side, place[side])
        answers = ask(sides.row[side], keys)
        tried[side] += 1
        near, far = sides.alike(side, keys)
        _mark(critical, sides, side[answers.critical], near[answers.critical], far[answers.critical])
        deviation = np.abs(sides.values(keys) - sides.golden[side])
        done = ~answers.critical & (deviation <= _SMALL * largest) & (answers.room >= _ENOUGH)
        place[side] = np.where(done, -1, near - 1)
    wide = lists.astype(np.int64)
    lower = np.where(critical & (wide < golden[:, None]), wide, order.below).max(axis=1)
    upper = np.where(critical & (wide > golden[:, None]), wide, order.above).min(axis=1)
    ends = np.full(len(lists), order.below), np.full(len(lists), order.above)
    return Found(lower, upper, *ends, tried.reshape(2, -1).sum(axis=0)), critical


def _mark(critical: Flags, sides: Sides, side: Places, near: Places, far: Places) -> None:
    """Places near..far (T,) of sides (T,) are critical."""
    sizes = far - near + 1
    which = np.repeat(np.arange(len(side)), sizes)
    place = near[which] + np.arange(len(which)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    critical[sides.row[side[which]], sides.origin[side[which]] + sides.step[side[which]] * place] = True
