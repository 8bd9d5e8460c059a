"""The plans that are fixed in advance: the published statistical ones, and all faults. Each fault runs on all images.

How many faults, with n(N, p) = N / (1 + e^2 (N - 1) / (t^2 p (1 - p))) of Leveugle et al. (DATE 2009), e the margin and
t the normal deviate of the confidence, as named by Ruospo et al. (DATE 2023):

    network       n(N, 0.5) of the network's N faults, spread over the layers in proportion
    layer         n(N, 0.5) of each layer
    data-unaware  n(N, 0.5) of each bit position of each layer
    data-aware    n(N, p) of each bit position of each layer, with the p of that bit in the whole network
    exhaustive    all

Weights and activations are populations of their own. Numbers are rounded to the nearest, layer by layer, as published;
but every stratum gets at least one fault, without which its layer would have no rate.

p of a data-aware plan is measured by a pilot (the first faults of every stratum, which count like all others), or known
before: computed from the weights, or the published table.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onnxfi.errors import StudyError
from onnxfi.faults.bits import Word
from onnxfi.faults.space import FaultSpace, Stratum
from onnxfi.metrics.estimate import normal_deviate, sample_size
from onnxfi.metrics.prior import date23_table, from_pilot, from_weights
from onnxfi.study.adaptive import Tally
from onnxfi.study.settings import Plan, Precision

Counts = NDArray[np.int64]
Stored = Callable[[str], NDArray[Any]]

PILOT = 8
"""Faults of each layer and bit in a pilot, or all there are."""


def describe(plan: Plan, precision: Precision, space: FaultSpace, stored: Stored) -> dict[str, Any]:
    """A fixed plan in plain JSON values, for a study's identity. stored: the values of a weight tensor, by its name.

    StudyError where the options do not go together.
    """
    if precision.budget is not None:
        raise StudyError(f"--budget bounds an adaptive study, not a {plan.kind} plan; leave it out.")
    if plan.kind == "exhaustive":
        return {"kind": plan.kind}
    told: dict[str, Any] = {"kind": plan.kind, "margin": plan.margin, "confidence": precision.confidence}
    if plan.kind == "data-aware":
        told["p"] = {"source": plan.p}
        if plan.p != "pilot":
            told["p"]["bits"] = _known(plan.p, space, stored)
    return told


def _known(source: str, space: FaultSpace, stored: Stored) -> list[dict[str, Any]]:
    """p of each bit that is known before the first trial, to four digits."""
    odd = next((region for region in space.regions if region.target != "weights"), None)
    if odd is not None:
        raise StudyError(f"--p {source} knows nothing of activations; use --target weights or --p pilot.")
    dtypes = {region.dtype: Word(region.dtype) for region in space.regions}
    table: dict[str, NDArray[np.float64]] = {}
    for dtype, word in dtypes.items():
        if source == "weights":
            tensors = {region.tensor: None for region in space.regions if region.dtype == dtype}
            table[dtype] = from_weights((stored(tensor) for tensor in tensors), word)
        elif dtype == "float32":
            table[dtype] = date23_table()
        else:
            raise StudyError(f"--p {source} is a table for float32, not for {dtype}; use --p pilot or --p weights.")
    bits = dict.fromkeys((region.dtype, bit) for region in space.regions for bit in region.bits)
    return [_bit("weights", dtype, bit, table[dtype][bit]) for dtype, bit in sorted(bits, key=lambda b: (b[0], -b[1]))]


def _bit(target: str, dtype: str, bit: int, p: float) -> dict[str, Any]:
    return {"target": target, "dtype": dtype, "bit": bit, "p": float(f"{p:.4g}")}


def fixed_strata(kind: str, space: FaultSpace) -> tuple[Stratum, ...]:
    """What a fixed plan draws from: layers (of each dtype), or each bit of each layer."""
    if kind in ("network", "layer"):
        return space.strata(classes=lambda word, bits: (bits,))
    return space.strata(classes=lambda word, bits: tuple((bit,) for bit in bits))


def fault_counts(
    population: ArrayLike, groups: Sequence[Hashable], margin: float, t: float, p: ArrayLike = 0.5
) -> Counts:
    """Faults to draw of each stratum, i8 (H,).

    population (H,): faults of each. groups (H,): strata of equal entries are one population, of which n(N, p) faults
    are spread over them in proportion. p (H,) or one number: the same all over a group.
    """
    size = np.asarray(population, np.float64)
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    home = np.array([numbers[group] for group in groups])
    whole = np.bincount(home, size)[home]
    n = np.rint(sample_size(whole, margin, t, p))
    return np.asarray(np.maximum(np.rint(n * size / whole), 1), np.int64)


class Course:
    """A fixed plan on its strata: how its rounds go. `plan` is what `describe` wrote."""

    def __init__(self, plan: Mapping[str, Any], strata: Sequence[Stratum], images: int) -> None:
        self._plan, self._strata, self._images = plan, strata, images
        self._population = np.array([stratum.population for stratum in strata], np.int64)
        self._first = np.minimum(PILOT, self._population)
        kinds = [(stratum.target, stratum.dtype, stratum.bits) for stratum in strata]
        numbers = {kind: number for number, kind in enumerate(dict.fromkeys(kinds))}
        self._kind = np.array([numbers[kind] for kind in kinds])
        self.pilots = int("p" in plan and "bits" not in plan["p"])
        """Rounds whose counts tell how many faults the next one draws."""

    def propose(self, tally: Tally) -> Counts | None:
        """Further faults of each stratum, i8 (H,), for the next round; None when all were drawn."""
        drawn = tally.trials // self._images
        if not self.pilots:
            left = self._faults(self._p()) - drawn
        elif (drawn < self._first).any():
            left = self._first - drawn
        elif (drawn > self._first).any():  # what comes after a pilot is one round
            return None
        else:
            left = self._faults(self._measured(tally)) - drawn
        left = np.maximum(left, 0)
        return left if left.any() else None

    def reached(self, rounds: Sequence[Tally]) -> bool:
        """Whether every fault of the plan was run, by the tally of each round."""
        drawn = sum((tally.trials for tally in rounds), np.zeros(len(self._strata), np.int64)) // self._images
        return bool((drawn >= self._wanted(rounds)).all())

    def settled(self, rounds: Sequence[Tally]) -> dict[str, Any]:
        """The plan in plain JSON values, with its number of faults, and with p as measured once the pilot is done."""
        told = {**self._plan, "faults": int(self._wanted(rounds).sum())}
        if self.pilots and self._piloted(rounds):
            p = self._measured(rounds[0])
            bits = {(s.target, s.dtype, s.bits[0]): p[h] for h, s in enumerate(self._strata)}
            told["p"] = {**self._plan["p"], "bits": [_bit(*bit, rate) for bit, rate in bits.items()]}
        return told

    def _piloted(self, rounds: Sequence[Tally]) -> bool:
        return bool(rounds) and bool((rounds[0].trials >= self._first * self._images).all())

    def _wanted(self, rounds: Sequence[Tally]) -> Counts:
        """All faults of the plan, as far as they are known: before the end of a pilot, its own."""
        if not self.pilots:
            return self._faults(self._p())
        if not self._piloted(rounds):
            return self._first
        return np.maximum(self._faults(self._measured(rounds[0])), self._first)

    def _faults(self, p: NDArray[np.float64]) -> Counts:
        plan = self._plan
        if plan["kind"] == "exhaustive":
            return self._population
        groups: list[Hashable]
        if plan["kind"] == "network":
            groups = [s.target for s in self._strata]
        elif plan["kind"] == "layer":
            groups = [(s.target, s.layer) for s in self._strata]
        else:
            groups = list(range(len(self._strata)))
        return fault_counts(self._population, groups, plan["margin"], normal_deviate(plan["confidence"]), p)

    def _p(self) -> NDArray[np.float64]:
        """p of each stratum, (H,), as known before."""
        if self._plan["kind"] != "data-aware":
            return np.full(len(self._strata), 0.5)
        known = {(row["target"], row["dtype"], row["bit"]): row["p"] for row in self._plan["p"]["bits"]}
        return np.array([known[s.target, s.dtype, s.bits[0]] for s in self._strata])

    def _measured(self, pilot: Tally) -> NDArray[np.float64]:
        """p of each stratum, (H,), as a pilot measured it: that of its bit, all layers together."""
        critical = np.bincount(self._kind, pilot.critical / self._images)
        drawn = np.bincount(self._kind, pilot.trials / self._images)
        return np.asarray(from_pilot(critical, drawn)[self._kind])
