"""Drawing faults until rates with and without guards are known: every fault is looked at under each set of guards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.faults.space import Stratum
from onnxfi.metrics.estimate import Estimate, stratified_interval
from onnxfi.metrics.factors import Weights
from onnxfi.metrics.outcome import CRITICAL, MASKED, NON_CRITICAL
from onnxfi.protect.ground import Field
from onnxfi.protect.pairs import Guards
from onnxfi.study.adaptive import Design, Tally, propose
from onnxfi.study.settings import Precision
from onnxfi.study.units import Unit, draw, units

Array = NDArray[Any]
Shoot = Callable[[Iterable[Array]], Iterator[NDArray[np.uint8]]]
"""Trials of many units in; of each, outcome and finite under every set of guards, u1 (V, T, 2), in order."""
Goal = Callable[[Estimate], float | None]
"""Half-width to reach, from the MVF without guards so far; None: no matter."""


@dataclass(frozen=True)
class Sample:
    """Counts i8 (V, H, 4) of V sets of guards over the strata of a field: masked, non-critical, critical, non-finite.

    known    (V, H): strata in which the guards undo every fault for certain; nothing is left to chance there
    mended   (V,): trials that are critical without guards (set 0) and are not with them
    harmed   (V,): the other way round
    """

    field: Field
    images: int
    confidence: float
    counts: NDArray[np.int64]
    known: NDArray[np.bool_]
    mended: NDArray[np.int64]
    harmed: NDArray[np.int64]

    @property
    def trials(self) -> int:
        """Faults drawn."""
        return int(self.counts[0, :, :3].sum())

    def of(self, weights: Weights | None, variant: int) -> Estimate | None:
        """The rate of critical faults under one set of guards; None for None."""
        return self.mixed(weights, np.full(len(self.field.strata), variant))

    def mixed(self, weights: Weights | None, variant: NDArray[np.int64]) -> Estimate | None:
        """The same, with a set of guards for each stratum (H,); -1: whatever corrects all of it."""
        if weights is None:
            return None
        rows = np.arange(len(variant))
        counts = self.counts[np.maximum(variant, 0), rows]
        sure = (variant < 0) | self.known[np.maximum(variant, 0), rows]
        trials = counts[:, :3].sum(axis=1)
        population = np.array([s.population for s in self.field.strata], np.int64)
        size = population * self.images
        seen, critical = np.where(sure, size, trials), np.where(sure, 0, counts[:, 2])
        value, low, high = stratified_interval(weights, critical, seen, size, self.confidence)
        part = weights > 0
        return Estimate(
            float(value[0]), float(low[0]), float(high[0]), int(trials[part].sum()), int(population[part].sum())
        )


def sample(
    field: Field,
    images: int,
    shoot: Shoot,
    known: NDArray[np.bool_],
    goals: Sequence[Goal],
    confidence: float,
    most: int,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> Sample:
    """Draw from `field` on so many images until each set of guards' MVF is as well known as its goal says.

    known (V, H) as Sample has it; goals: one for each set. At most `most` faults, but at least eight of each stratum.
    """
    strata = field.strata
    drawn = np.zeros(len(strata), np.int64)
    sets = len(known)
    found = Sample(field, images, confidence, np.zeros((sets, len(strata), 4), np.int64), known, *_zeros(sets))
    mvf = field.factors.mvf(strata[0].target)
    design = Design.of(strata, images, field.factors, Precision(confidence=confidence, layer=1.0))
    number = 0
    while (allocation := _next(design, found, mvf, goals)) is not None and (not number or found.trials < most):
        jobs = list(units(number, allocation, drawn, strata, images))
        trials = [draw(unit, field.targets.space, strata, images, seed) for unit in jobs]
        for unit, outcomes in zip(jobs, shoot(trials), strict=True):
            found = _added(found, unit, outcomes)
            if progress is not None:
                progress(found.trials)
        drawn += allocation
        number += 1
    return found


def _next(design: Design, found: Sample, mvf: Weights | None, goals: Sequence[Goal]) -> NDArray[np.int64] | None:
    """What the sets of guards ask for, together; None where all are content."""
    asked = np.zeros(len(found.field.strata), np.int64)
    before = found.of(mvf, 0)
    for variant, goal in enumerate(goals):
        reach = 1.0 if before is None else goal(before)
        if reach is None:
            continue
        weights = np.where(found.known[variant], 0.0, design.weights)  # what is known for certain needs no trial
        some = propose(
            replace(design, weights=weights, goals=np.where(design.goals < 1, reach, 1.0)), Tally(found.counts[variant])
        )
        if some is not None:
            asked = np.maximum(asked, some)
    return asked if asked.any() else None


def _added(found: Sample, unit: Unit, outcomes: NDArray[np.uint8]) -> Sample:
    counts = found.counts.copy()
    start = 0
    for piece in unit.pieces:
        stop = start + piece.stop - piece.start
        part = outcomes[:, start:stop]
        for place, kind in enumerate((MASKED, NON_CRITICAL, CRITICAL)):
            counts[:, piece.stratum, place] += (part[:, :, 0] == kind).sum(axis=1)
        counts[:, piece.stratum, 3] += (part[:, :, 1] == 0).sum(axis=1)
        start = stop
    critical = outcomes[:, :, 0] == CRITICAL
    return replace(
        found,
        counts=counts,
        mended=found.mended + (critical[0] & ~critical).sum(axis=1),
        harmed=found.harmed + (~critical[0] & critical).sum(axis=1),
    )


def certain(field: Field, guards: Guards) -> NDArray[np.bool_]:
    """(H,): strata of which these guards put every bit back."""
    space = field.targets.space

    def restored(stratum: Stratum) -> bool:
        regions = [space.edges.index(segment.first) for segment in stratum.segments]
        found = [guards.get(number) for number in regions]
        return all(guard is not None and set(stratum.bits) <= set(guard.restored) for guard in found)

    return np.array([restored(stratum) for stratum in field.strata], bool)


def _zeros(sets: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.zeros(sets, np.int64), np.zeros(sets, np.int64)
