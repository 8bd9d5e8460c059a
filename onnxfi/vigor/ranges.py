"""Ranges of deviations of a neuron's output (DeepVigor, arXiv 2303.06931, Eq. 2 and 3, as far as its text is legible).

Where the original bisects to 0.05 within one interval, deviations here are tried on a ladder: eight steps an octave
from 2^-5 to 2^17, then one each eight octaves to 2^127, to both sides. Ranges of many images are only comparable on
common steps; between the last safe step and the first critical one nothing is claimed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxfi.engine.deviation import Deviations
from onnxfi.vigor.deepvigor_plus import answers
from onnxfi.vigor.order import Order
from onnxfi.vigor.pairs import Array
from onnxfi.vigor.search import Answers, search

Bounds = NDArray[np.float64]

NON_VULNERABLE, SEMI_VULNERABLE, VULNERABLE = 0, 1, 2
LADDER: NDArray[np.float64] = np.concatenate(
    [2.0 ** (np.arange(-40, 137) / 8), 2.0 ** np.arange(24, 128, 8), [2.0**127]]
)


@dataclass(frozen=True)
class Limits:
    """Of pairs (P,): deviations within [safe_low, safe_high] are safe, those at most `low` or at least `high` critical.

    Infinite where no step of a side is critical.
    """

    low: Bounds
    safe_low: Bounds
    safe_high: Bounds
    high: Bounds
    tried: int


@dataclass(frozen=True)
class Neurons:
    """A job: pairs (P,) of image and neuron, words of `region` (kind output)."""

    region: int
    image: NDArray[np.int64]
    site: NDArray[np.int64]

    def run(self, engine: Deviations) -> Limits:
        """Search the ladder to both sides."""
        order = Order(engine.regions[self.region].dtype)
        stored = engine.stored(self.region, self.image, self.site)
        steps = np.concatenate([-LADDER[::-1], LADDER])
        with np.errstate(over="ignore"):
            lists = order.keys((stored.astype(np.float64)[:, None] + steps).astype(stored.dtype))
        golden = order.keys(stored)

        def ask(row: NDArray[np.int64], keys: Array) -> Answers:
            return answers(engine, engine.put(self.region, self.image[row], self.site[row], order.values(keys)))

        found = search(order, lists, golden, 0.0, ask)
        count = len(LADDER)
        finite = order.finite(lists)
        # Steps to each side, by size, that the search left safe; the next one, if there is one, is critical.
        up = (finite & (lists < found.upper[:, None]))[:, count:].sum(axis=1)
        down = (finite & (lists > found.lower[:, None]))[:, count - 1 :: -1].sum(axis=1)
        up, down = (np.where(open_, count, n) for open_, n in
                    ((found.upper >= order.above, up), (found.lower <= order.below, down)))  # fmt: skip
        safe, critical = np.concatenate([[0.0], LADDER]), np.concatenate([LADDER, [np.inf]])
        safe_high = np.where(up == count, np.inf, safe[up])
        safe_low = -np.where(down == count, np.inf, safe[down])
        return Limits(-critical[down], safe_low, safe_high, critical[up], int(found.tried.sum()))


def last_layer(logits: NDArray[np.float64], image: NDArray[np.int64], site: NDArray[np.int64]) -> Limits:
    """Limits of the logits themselves, in closed form: the golden class falls below the next, or another rises to it.

    logits (N, C); image, site (P,): images, and classes whose logit deviates.
    """
    rows = logits[image]
    best = rows.argmax(axis=1)
    others = rows.copy()
    others[np.arange(len(rows)), best] = -np.inf
    margin = rows.max(axis=1) - others.max(axis=1)
    own = site == best
    gap = rows.max(axis=1) - rows[np.arange(len(rows)), site]
    low, high = np.where(own, -margin, -np.inf), np.where(own, np.inf, gap)
    return Limits(np.nextafter(low, -np.inf), low, high, np.nextafter(high, np.inf), 0)


@dataclass(frozen=True)
class ClassRanges:
    """Ranges over all images of each class, (S, C): four deviations that part the line.

    Non-vulnerable: within [safe_low, safe_high], safe for every image. Vulnerable: at most `low` or at least `high`,
    critical for every image. Semi-vulnerable: the rest. Of a class without an image, all of the line.
    """

    low: Bounds
    safe_low: Bounds
    safe_high: Bounds
    high: Bounds

    def category(self, row: NDArray[np.int64], class_: NDArray[np.int64], deviation: Array) -> NDArray[np.int8]:
        """Of deviations (T,) of neurons at `row` (T,), of images of a golden class (T,). NaN is vulnerable."""
        at = row, class_
        inside = (deviation >= self.safe_low[at]) & (deviation <= self.safe_high[at])
        beyond = (deviation <= self.low[at]) | (deviation >= self.high[at]) | ~np.isfinite(deviation)
        return np.where(beyond, VULNERABLE, np.where(inside, NON_VULNERABLE, SEMI_VULNERABLE)).astype(np.int8)


def by_class(limits: Limits, sites: int, golden: NDArray[np.int64], classes: int) -> ClassRanges:
    """Merge the images of each golden class. `limits`: pairs site by site, with the images of `golden` (I,) each."""
    shape = (sites, len(golden))
    found = ClassRanges(*(np.full((sites, classes), edge) for edge in (-np.inf, 0.0, 0.0, np.inf)))
    for class_ in np.unique(golden):
        mine = golden == class_
        found.low[:, class_] = limits.low.reshape(shape)[:, mine].min(axis=1)
        found.safe_low[:, class_] = limits.safe_low.reshape(shape)[:, mine].max(axis=1)
        found.safe_high[:, class_] = limits.safe_high.reshape(shape)[:, mine].min(axis=1)
        found.high[:, class_] = limits.high.reshape(shape)[:, mine].max(axis=1)
    return found
