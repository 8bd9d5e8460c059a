"""A plan at work on a fault space: its strata, how it draws from them, and when it is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.faults.space import Stratum
from onnxfi.metrics.factors import Factors
from onnxfi.study import classic
from onnxfi.study.adaptive import Design, Tally, half_widths, propose
from onnxfi.study.settings import Plan, Precision
from onnxfi.study.split import count_negative, split_strata
from onnxfi.study.targets import Targets


@dataclass(frozen=True)
class Scheme:
    """strata: what is drawn from. crossed: a draw is a fault that runs on all images. pilots: rounds at the beginning
    whose counts tell what comes after them. propose: the next round. reached: whether the plan got what it is for, by
    the tally of each round. settled: the plan in plain JSON values, with what its rounds added to it.
    """

    strata: tuple[Stratum, ...]
    factors: Factors
    crossed: bool
    pilots: int
    propose: Callable[[Tally], NDArray[np.int64] | None]
    reached: Callable[[Sequence[Tally]], bool]
    settled: Callable[[Sequence[Tally]], Mapping[str, Any]]


def describe(
    plan: Plan, precision: Precision, targets: Targets, stored: Callable[[str], NDArray[Any]]
) -> Mapping[str, Any]:
    """A plan in plain JSON values, as a study's identity has it. stored: the values of a weight tensor, by its name.

    StudyError where the options do not go together.
    """
    if plan.kind == "adaptive":
        return {"kind": plan.kind, "negative": count_negative(targets, stored)}
    return classic.describe(plan, precision, targets.space, stored)


def make_scheme(
    plan: Mapping[str, Any],
    precision: Precision,
    targets: Targets,
    images: int,
    stored: Callable[[str], NDArray[Any]] | None = None,
) -> Scheme:
    """The scheme, for this fault space and so many images, of a plan as `describe` gave it.

    stored: as `describe` had it; without it an adaptive scheme can count, but not draw.
    """
    if plan["kind"] == "adaptive":
        strata = split_strata(targets.space, plan["negative"], stored)
        return _adaptive(plan, precision, targets, images, strata)
    strata = classic.fixed_strata(plan["kind"], targets.space)
    course = classic.Course(plan, strata, images)
    factors = factors_of(targets, strata)
    return Scheme(strata, factors, True, course.pilots, course.propose, course.reached, course.settled)


def _adaptive(
    plan: Mapping[str, Any], precision: Precision, targets: Targets, images: int, strata: tuple[Stratum, ...]
) -> Scheme:
    factors = factors_of(targets, strata)
    design = Design.of(strata, images, factors, precision)

    def reached(rounds: Sequence[Tally]) -> bool:
        tally = sum(rounds, Tally.empty(len(strata)))
        return bool((half_widths(design, tally) <= design.goals).all())

    return Scheme(strata, factors, False, 0, partial(propose, design), reached, lambda rounds: {"kind": plan["kind"]})


def factors_of(targets: Targets, strata: Sequence[Stratum]) -> Factors:
    """The factors of a study: which strata answer for which layer."""
    places = range(1 + max(layer.index for layer in targets.layers))
    asked = {layer.index for layer in targets.layers}
    return Factors(
        strata,
        {
            "weights": [targets.home("weights", index) if index in asked else None for index in places],
            "activations": [targets.home("activations", index) if index in asked else None for index in places],
        },
    )
