"""Tables of what every trial would do, for tests that let the sampler loose on them a thousand times.

One is an exhaustive injection: every bit of every weight of a small dense network on every one of 30 images. The others
are made up: a rate for each stratum of 20 layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from onnxfi.bundled import data_path
from onnxfi.faults.bits import Word, bit_set
from onnxfi.faults.space import FaultSpace, Region
from onnxfi.metrics.estimate import stratified_interval
from onnxfi.metrics.factors import Factors
from onnxfi.study.adaptive import Design, Tally, half_widths, propose
from onnxfi.study.settings import Precision
from onnxfi.study.split import split_bits
from onnxfi.study.units import Piece, Unit, draw

Array = NDArray[Any]
Sample = Callable[[NDArray[np.int64]], NDArray[np.int64]]
"""Critical trials, (H,), among the first so many draws, (H,), of each stratum."""

ALL = tuple(range(31, -1, -1))
WIDTHS = (49, 8, 8, 10)
IMAGES = 30


@dataclass(frozen=True)
class Table:
    """A design, the true rate of each of its strata (H,), and a seeded study's sampler."""

    design: Design
    rates: Array
    sampler: Callable[[int], Sample]

    @property
    def truth(self) -> Array:
        """The factors, (R,): the design's rows."""
        return self.design.weights @ self.rates

    def study(self, seed: int) -> Tally:
        """One adaptive study, until its goals are reached."""
        sample, tally = self.sampler(seed), Tally.empty(len(self.rates))
        while (allocation := propose(self.design, tally)) is not None:
            trials = tally.trials + allocation
            critical = sample(trials)
            tally = Tally(np.stack([0 * trials, trials - critical, critical, 0 * trials], axis=1))
        return tally


@dataclass(frozen=True)
class Coverage:
    """Of many studies: how often the intervals hold the truth, (R,); trials on average; the half-width of the first
    factor, and what the best allocation of as many trials would give it if all variances were known (Neyman)."""

    share: Array
    trials: float
    width: float
    ideal: float


def coverage(table: Table, studies: int) -> Coverage:
    """Run so many studies, seeds 0, 1, ...; every one must reach its goals."""
    design, truth = table.design, table.truth
    holds, trials, widths, ideals = np.zeros(len(truth)), [], [], []
    spread = (design.weights[0] * np.sqrt(table.rates * (1 - table.rates))).sum()
    for seed in range(studies):
        tally = table.study(seed)
        assert (half_widths(design, tally) <= design.goals).all()
        _, low, high = stratified_interval(
            design.weights, tally.critical, tally.trials, design.population, design.confidence
        )
        holds += (low <= truth + 1e-12) & (truth <= high + 1e-12)
        trials.append(tally.trials.sum())
        widths.append(half_widths(design, tally)[0])
        ideals.append(norm.ppf((1 + design.confidence) / 2) * spread / np.sqrt(trials[-1]))
    return Coverage(holds / studies, float(np.mean(trials)), float(np.mean(widths)), float(np.mean(ideals)))


# An exhaustive injection


class DenseNet:
    """49-8-8-10 with ReLU, trained on the bundled images at 7x7; 536 weights, no biases."""

    def __init__(self) -> None:
        with np.load(data_path()) as data:
            pixels = data["images"].reshape(-1, 7, 4, 7, 4).mean(axis=(2, 4)).reshape(-1, 49) / 255
            labels = data["labels"]
        rng = np.random.default_rng(11)
        weights = [rng.normal(0, np.sqrt(2 / a), (b, a)) for a, b in pairwise(WIDTHS)]
        for step in range(400):
            batch = rng.integers(0, len(pixels), 50)
            acts = [pixels[batch]]
            for w in weights[:-1]:
                acts.append(np.maximum(acts[-1] @ w.T, 0))
            logits = acts[-1] @ weights[-1].T
            grad = np.exp(logits - logits.max(axis=1, keepdims=True))
            grad = grad / grad.sum(axis=1, keepdims=True) - np.eye(10)[labels[batch]]
            for at in (2, 1, 0):
                back = (grad @ weights[at]) * (acts[at] > 0)
                weights[at] = weights[at] - 0.3 * (1 - step / 400) * grad.T @ acts[at] / 50
                grad = back
        self.weights = [w.astype(np.float32) for w in weights]
        self.images = pixels[:: len(pixels) // IMAGES][:IMAGES].astype(np.float32)

    def _tail(self, layer: int, written: Array) -> Array:
        """Top-1, where any logit is not finite -1, from what layer number `layer` writes, (..., width)."""
        for w in self.weights[layer + 1 :]:
            written = np.maximum(written, 0) @ w.T
        return np.where(np.isfinite(written).all(axis=-1), written.argmax(axis=-1), -1)

    def critical(self, layer: int) -> Array:
        """bool (weights of the layer, 32, IMAGES): whether the flip of bit ALL[b] is critical."""
        x, w = self.images, self.weights[layer]
        for earlier in self.weights[:layer]:
            x = np.maximum(x @ earlier.T, 0)
        written = x @ w.T
        golden = self._tail(layer, written)
        word = Word("float32")
        found = np.zeros((w.size, 32, IMAGES), bool)
        for site in range(w.size):
            out, at = divmod(site, w.shape[1])
            flipped = word.values(word.words(w.ravel()[site : site + 1]) ^ (np.uint32(1) << np.array(ALL, np.uint32)))
            faulty = np.repeat(written[None], 32, axis=0)
            others = np.delete(x, at, axis=1) @ np.delete(w[out], at)
            faulty[..., out] = others + x[:, at] * flipped[:, None]
            found[site] = self._tail(layer, faulty) != golden
        return found


class Exhaustive:
    """The dense network's fault space, and what every one of its trials does."""

    def __init__(self) -> None:
        net = DenseNet()
        self.space = FaultSpace(
            [Region("weights", "weight", at, f"w{at}", w.size, "float32", ALL) for at, w in enumerate(net.weights)]
        )
        with np.errstate(all="ignore"):
            self.critical = np.concatenate([net.critical(at).reshape(-1, IMAGES) for at in range(3)])
        negative = {at: bit_set(Word("float32").words(w.ravel()), 31) for at, w in enumerate(net.weights)}
        self.strata = self.space.strata(negative, split_bits)

    @cached_property
    def rates(self) -> Array:
        """Of each stratum, (H,), by looking at every fault of it."""
        return np.array([self.critical[s.faults(np.arange(s.population))].mean() for s in self.strata])

    def outcomes(self, trials: Array) -> Array:
        """bool (T,): whether each TRIAL is critical."""
        return self.critical[trials["fault"], trials["image"]]

    def table(self, precision: Precision) -> Table:
        factors = Factors(self.strata, {"weights": range(3)})
        design = Design.of(self.strata, IMAGES, factors, precision)
        return Table(design, self.rates, lambda seed: Drawn(self, seed))


class Drawn:
    """A study's own draws out of the exhaustive table, more of them as it asks for more."""

    def __init__(self, table: Exhaustive, seed: int) -> None:
        self._table, self._seed = table, seed
        self._seen = [np.zeros(1, np.int64) for _ in table.strata]  # critical ones among the first 0, 1, ... draws

    def __call__(self, trials: NDArray[np.int64]) -> NDArray[np.int64]:
        for h, wanted in enumerate(trials):
            if (known := len(self._seen[h]) - 1) < wanted:
                more = min(max(int(wanted), 4 * known, 100), self._table.strata[h].population * IMAGES)
                unit = Unit(0, 0, (Piece(h, known, more),))
                drawn = draw(unit, self._table.space, self._table.strata, IMAGES, self._seed)
                hits = np.cumsum(self._table.outcomes(drawn)) + self._seen[h][-1]
                self._seen[h] = np.concatenate([self._seen[h], hits])
        return np.array([seen[count] for seen, count in zip(self._seen, trials, strict=True)])


# Made-up tables

CLASSES = (*[1] * 9, 23)
"""Bits of a stratum: nine alone, 23 of mantissa."""


def made_up(rates: Sequence[Sequence[float]] | Array, precision: Precision, sites: int = 30_000) -> Table:
    """Rates (layers, 10 classes of bits); `sites` (fault, image) pairs of each bit; hypergeometric draws."""
    rate = np.asarray(rates, np.float64)
    layers = len(rate)
    population = np.tile(np.array(CLASSES) * sites, layers)
    critical = np.round(rate.ravel() * population).astype(np.int64)
    share = np.array(CLASSES) / sum(CLASSES)
    lvf = np.kron(np.eye(layers), share)
    design = Design(
        population,
        np.tile(np.arange(len(CLASSES)), layers),
        np.vstack([lvf.mean(axis=0), lvf]),
        np.array([precision.model] + [precision.layer] * layers),
        precision.confidence,
        precision.budget,
    )

    def sampler(seed: int) -> Sample:
        rng = np.random.default_rng(seed)
        seen = np.zeros((2, len(population)), np.int64)  # trials, and critical ones among them

        def sample(trials: NDArray[np.int64]) -> NDArray[np.int64]:
            left, bad = population - seen[0], critical - seen[1]
            seen[1] += rng.hypergeometric(bad, left - bad, trials - seen[0])
            seen[0] = trials
            return seen[1].copy()

        return sample

    return Table(design, critical / population, sampler)


def near_both_ends() -> Array:
    """20 layers, one near 0 and the next near 1, each by a tenth to a ten-thousandth, alike at all bits."""
    away = 10.0 ** -np.random.default_rng(0).uniform(1, 4, 20)
    return np.repeat(np.where(np.arange(20) % 2, 1 - away, away)[:, None], 10, axis=1)


def rare() -> Array:
    """20 layers in which every stratum is critical in 1 of 100 to 1 of 100,000 trials, whatever its kin."""
    return 10.0 ** -np.random.default_rng(0).uniform(2, 5, (20, 10))


def as_published() -> Array:
    """20 layers as the published results of ResNet-20: much at bit 30, and there from layer to layer a different rate;
    a little at bits 31 and 25; next to nothing elsewhere."""
    rates = np.tile([0.0008, 0.43, 0.0005, 0.0004, 0.0005, 0.0008, 0.0032, 0.0009, 0.0004, 0.0001], (20, 1))
    rates[:, 1] = np.random.default_rng(0).uniform(0.2, 0.9, 20)
    return rates
