"""Where answers break: images, classes, and from which answer to which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxfi.faults.space import Target
from onnxfi.metrics.estimate import Estimate
from onnxfi.metrics.factors import Weights
from onnxfi.study.evidence import Evidence

MOST = 10
"""Rows of each list, the worst first."""


@dataclass(frozen=True)
class Weak:
    """An image or a class, by number: the rate of critical trials on it (of a class, on the images of that answer)."""

    number: int
    images: int
    rate: Estimate


@dataclass(frozen=True)
class Turn:
    """From a fault-free answer to a faulty one, by class or group number; -1 for no answer (a non-finite logit).

    `rate`: of the trials on images whose fault-free answer is `before`.
    """

    before: int
    after: int
    rate: Estimate


def weak_images(evidence: Evidence, target: Target) -> tuple[Weak, ...]:
    """The images that break most easily. That they were chosen as the worst makes their rates look high."""
    count = len(evidence.answers.top1)
    return _weak(evidence, target, np.arange(count), lambda number: evidence.hits["image"] == number)


def weak_classes(evidence: Evidence, target: Target) -> tuple[Weak, ...]:
    """The fault-free answers that break most easily."""
    top1 = evidence.answers.top1
    before = top1[evidence.hits["image"]]
    return _weak(evidence, target, top1, lambda number: before == number)


def class_turns(evidence: Evidence, target: Target) -> tuple[Turn, ...]:
    """The most frequent changes of class, as shares of the trials on images of the class."""
    return turns(evidence, target, np.arange(evidence.answers.outputs), MOST)


def turns(evidence: Evidence, target: Target, home: NDArray[np.int64], most: int | None = None) -> tuple[Turn, ...]:
    """The changes between the groups that `home` (classes,) puts the classes in, the most frequent first; all of them
    or the first `most`."""
    weights, hits = evidence.population(target), evidence.hits
    assert weights is not None
    of_image = home[evidence.answers.top1]
    before = of_image[hits["image"]]
    after = np.where(hits["finite"] == 1, home[hits["top1"]], -1)
    heavy = _of(evidence, weights)
    pairs, which = np.unique(np.stack([before, after]), axis=1, return_inverse=True)
    share = np.bincount(of_image, minlength=int(home.max()) + 1)[pairs[0]] / len(of_image)
    rates = np.bincount(which, heavy) / share
    order = [int(place) for place in np.argsort(-rates, kind="stable") if rates[place] > 0][:most]
    return tuple(
        Turn(
            int(pairs[0, place]),
            int(pairs[1, place]),
            evidence.estimate(weights, evidence.counted(which == place), float(share[place])),
        )
        for place in order
    )


def _weak(
    evidence: Evidence,
    target: Target,
    home: NDArray[np.int64],
    chosen: Callable[[int], NDArray[np.bool_]],
) -> tuple[Weak, ...]:
    """Of images put by `home` (N,) into classes, the MOST with the highest rate."""
    weights = evidence.population(target)
    assert weights is not None
    numbers, images = np.unique(home, return_counts=True)
    heavy = _of(evidence, weights)
    sums = np.bincount(home[evidence.hits["image"]], heavy, minlength=int(numbers.max()) + 1)[numbers]
    rates = sums / images
    worst = [place for place in np.argsort(-rates, kind="stable")[:MOST] if sums[place] > 0]
    return tuple(
        Weak(
            int(numbers[place]),
            int(images[place]),
            evidence.estimate(weights, evidence.counted(chosen(int(numbers[place]))), float(images[place]) / len(home)),
        )
        for place in worst
    )


def _of(evidence: Evidence, weights: Weights) -> NDArray[np.float64]:
    """What each hit adds to the rate of the population, (hits,)."""
    each = weights / np.maximum(evidence.rates.trials, 1)
    return np.asarray(each[evidence.hits["stratum"]])
