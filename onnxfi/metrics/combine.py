"""Intervals of what is made of two rates: a difference, a share; and of a plain binomial.

A pair of rates is joined by the method of variance estimates recovery (MOVER; Zou and Donner, Statistics in Medicine
27, 2008, p. 1693): the half-widths of the two intervals, on the sides that matter, are added as variances are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv

_HALVINGS = 60


@dataclass(frozen=True)
class Bounds:
    """A rate with its limits; low <= value <= high."""

    value: float
    low: float
    high: float


def difference(a: Bounds, b: Bounds, correlation: float = 0.0) -> Bounds:
    """a - b. `correlation` of the two estimates: where both count different outcomes of the same trials it is not
    above 0."""
    value = a.value - b.value

    def reach(one: float, other: float) -> float:
        return float(np.sqrt(max(one**2 + other**2 - 2 * correlation * one * other, 0.0)))

    return Bounds(
        value,
        value - reach(a.value - a.low, b.high - b.value),
        value + reach(a.high - a.value, b.value - b.low),
    )


def share(a: Bounds, b: Bounds, correlation: float = 0.0) -> Bounds | None:
    """a / (a + b), for a and b that are not negative; None where neither was seen.

    Its limits are the shares s at which the interval of (1 - s) a - s b just holds 0 (as Fieller has it).
    """
    if a.value + b.value <= 0:
        return None

    def contrast(s: float) -> Bounds:
        return difference(_times(a, 1 - s), _times(b, s), correlation)

    value = a.value / (a.value + b.value)
    low = 0.0 if a.low <= 0 else _root(lambda s: contrast(s).low, 0.0, value)
    high = 1.0 if b.low <= 0 else _root(lambda s: contrast(s).high, value, 1.0)
    return Bounds(value, low, high)


def binomial(x: int, n: int, confidence: float) -> Bounds:
    """The rate of `x` of `n` independent trials, with Clopper and Pearson's exact limits; n is at least 1."""
    tail = (1 - confidence) / 2
    low = float(betaincinv(x, n - x + 1, tail)) if x else 0.0
    high = float(betaincinv(x + 1, n - x, 1 - tail)) if x < n else 1.0
    return Bounds(x / n, low, high)


def _times(bounds: Bounds, factor: float) -> Bounds:
    return Bounds(bounds.value * factor, bounds.low * factor, bounds.high * factor)


def _root(falling: Callable[[float], float], low: float, high: float) -> float:
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if falling(middle) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2
