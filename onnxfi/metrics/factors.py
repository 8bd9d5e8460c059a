"""Vulnerability factors as weights of strata: LVF, MVF, Eq. 15, population VF and BVF differ by these alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from onnxfi.faults.space import Stratum, Target

Weights = NDArray[np.float64]


class Factors:
    """Weights, float64 (H,), each summing to 1, such that a factor is the sum of weight times rate over the strata.

    `readers` gives for each target and each weighted layer of the network, in order, the `layer` of the strata whose
    words it reads, or None where it has none in this study. Layers that read one activation tensor name one and the
    same: its VF is the LVF of each of them, while the population VF counts it once. Every factor is None where no
    stratum contributes.
    """

    def __init__(self, strata: Sequence[Stratum], readers: Mapping[Target, Sequence[int | None]]) -> None:
        self._strata = tuple(strata)
        self._readers = {target: tuple(layers) for target, layers in readers.items()}
        self._population = np.array([float(stratum.population) for stratum in strata])
        self._targets = np.array([stratum.target for stratum in strata])
        self._layers = np.array([stratum.layer for stratum in strata], np.int64)

    def _share(self, chosen: NDArray[np.bool_]) -> Weights | None:
        faults = np.where(chosen, self._population, 0.0)
        return faults / faults.sum() if chosen.any() else None

    @property
    def targets(self) -> tuple[Target, ...]:
        """The targets of this study."""
        return tuple(target for target in self._readers if np.any(self._targets == target))

    def own_layers(self, target: Target) -> tuple[int, ...]:
        """The weighted layers that have an LVF, only the first of those that read one and the same tensor."""
        first: dict[int, int] = {}
        for layer, home in enumerate(self._readers.get(target, ())):
            if home is not None and np.any((self._targets == target) & (self._layers == home)):
                first.setdefault(home, layer)
        return tuple(first.values())

    def lvf(self, target: Target, layer: int) -> Weights | None:
        """LVF of the weighted layer at place `layer`: every fault of what it reads is equally likely."""
        home = self._readers.get(target, ())[layer : layer + 1]
        if not home or home[0] is None:
            return None
        return self._share((self._targets == target) & (self._layers == home[0]))

    def mvf(self, target: Target) -> Weights | None:
        """MVF: the plain mean of the LVFs of the layers that have one."""
        return _mean([self.lvf(target, layer) for layer in range(len(self._readers.get(target, ())))])

    def layer_total(self, layer: int, outputs: int, weights: int) -> Weights | None:
        """The bracket of Eq. 15 of DeepVigor+: LVF of activations and of weights, weighted by N_l = `outputs` (elements
        of the layer's output for one image) and W_l = `weights` (its weight sites). None unless both are there."""
        of_activations, of_weights = self.lvf("activations", layer), self.lvf("weights", layer)
        if of_activations is None or of_weights is None:
            return None
        return np.asarray((outputs * of_activations + weights * of_weights) / (outputs + weights))

    def total(self, outputs: Sequence[int], weights: Sequence[int]) -> Weights | None:
        """MVF_total, Eq. 15 of DeepVigor+: the mean of `layer_total` over the layers that have one."""
        sizes = enumerate(zip(outputs, weights, strict=True))
        return _mean([self.layer_total(layer, *size) for layer, size in sizes])

    def population(self, target: Target | None = None) -> Weights | None:
        """VF of the fault space, or of one target's: every bit of its memory is equally likely, shared words once."""
        return self._share(np.ones(len(self._strata), bool) if target is None else self._targets == target)

    def bits(self, target: Target, dtype: str, bits: tuple[int, ...]) -> Weights | None:
        """BVF of a class of bits: every word of `dtype` of the target is equally likely."""
        chosen = [(stratum.target, stratum.dtype, stratum.bits) == (target, dtype, bits) for stratum in self._strata]
        return self._share(np.array(chosen, bool))


def _mean(factors: Sequence[Weights | None]) -> Weights | None:
    known = [factor for factor in factors if factor is not None]
    return np.mean(known, axis=0) if known else None
