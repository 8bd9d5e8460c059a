"""A plan at work on a fault space: its strata, how it draws from them, and when it is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.faults.space import Stratum
from onnxfi.metrics.factors import Factors
from onnxfi.study.adaptive import Design, Tally, half_widths, propose
from onnxfi.study.settings import Plan, Precision
from onnxfi.study.targets import Targets


@dataclass(frozen=True)
class Scheme:
    """strata: what is drawn from. crossed: a draw is a fault that runs on all images. propose: the next round.
    reached: whether the plan got what it is for. identity: the plan in plain JSON values."""

    strata: tuple[Stratum, ...]
    factors: Factors
    crossed: bool
    propose: Callable[[Tally], NDArray[np.int64] | None]
    reached: Callable[[Tally], bool]
    identity: Mapping[str, Any]


def make_scheme(plan: Plan, precision: Precision, targets: Targets, images: int) -> Scheme:
    """The plan's scheme for this fault space and so many images."""
    strata = targets.space.strata()
    factors = factors_of(targets, strata)
    design = Design.of(strata, images, factors, precision)

    def reached(tally: Tally) -> bool:
        return bool((half_widths(design, tally) <= design.goals).all())

    return Scheme(strata, factors, False, partial(propose, design), reached, {"kind": plan.kind})


def factors_of(targets: Targets, strata: tuple[Stratum, ...]) -> Factors:
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
