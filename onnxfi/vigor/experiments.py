"""Experiments of the DeepVigor+ paper on what one complete analysis found: nothing is run again.

- How far samples of channels are off (Table IV), and what they would take (Tables VII and VIII): channels and the
  logarithm of their sites are drawn anew many times from the results of every site.
- How far batches of images are apart (Fig. 10): the images are parted in their order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxfi.errors import StudyError
from onnxfi.faults.space import Target
from onnxfi.metrics.factors import Weights
from onnxfi.vigor.analysis import Analysis
from onnxfi.vigor.measured import Measured
from onnxfi.vigor.settings import Experiments

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Resampled:
    """Of one target, at one share of the channels, over all channels drawn, layers and repetitions.

    cvf_mean, cvf_max, lvf_mean, lvf_max  absolute errors against the complete analysis, as fractions
    simulations                           of one such sample, at the complete one's tries a pair
    seconds                               likewise, at the complete one's time a pair; golden pass included
    """

    target: Target
    ratio: float
    repeats: int
    cvf_mean: float
    cvf_max: float
    lvf_mean: float
    lvf_max: float
    simulations: float
    seconds: float


@dataclass(frozen=True)
class Batch:
    """MVF over `images` images from the `start`-th on; None for targets that were not asked for."""

    start: int
    images: int
    weights: float | None
    activations: float | None
    total: float | None


def resample(analysis: Analysis, ratios: tuple[float, ...], repeats: int) -> tuple[Resampled, ...]:
    """Draw each of `ratios` of the channels, and the logarithm of their sites, `repeats` times (Eq. 16).

    Raises StudyError where the analysis left out sites or images.
    """
    Experiments(ratios, repeats).check(analysis.question.sampling)
    measured = analysis.estimates.measured
    before = analysis.seconds - sum(m.seconds for m in measured)
    rng = np.random.default_rng(analysis.question.sampling.seed)
    return tuple(
        _resampled(target, [m for m in measured if m.region.target == target], ratio, repeats, before, rng)
        for target in analysis.estimates.factors.targets
        for ratio in ratios
    )


def _resampled(
    target: Target, measured: list[Measured], ratio: float, repeats: int, before: float, rng: np.random.Generator
) -> Resampled:
    channels, layers, simulations, seconds = [], [], 0.0, before
    for m in measured:
        groups = np.split(m.sites, np.flatnonzero(np.diff(m.drawn.channel)) + 1)
        whole, true = np.array([group.mean() for group in groups]), float(m.sites.mean())
        count = math.ceil(ratio * len(groups) - 1e-9)
        for _ in range(repeats):
            taken = rng.permutation(len(groups))[:count]
            some = [rng.permutation(groups[c])[: _logarithm(len(groups[c]))] for c in taken]
            channels.append(np.abs(np.array([rates.mean() for rates in some]) - whole[taken]))
            layers.append(abs(float(np.concatenate(some).mean()) - true))
        share = count * np.mean([_logarithm(len(group)) for group in groups]) / len(m.sites)
        simulations += float(share * (m.tried + m.audit.values) / m.drawn.images)
        seconds += float(share * m.seconds)
    cvf = np.concatenate(channels)
    return Resampled(
        target, ratio, repeats, float(cvf.mean()), float(cvf.max()),
        float(np.mean(layers)), float(np.max(layers)), simulations, seconds,
    )  # fmt: skip


def _logarithm(sites: int) -> int:
    return max(1, math.ceil(math.log2(sites)))


def batches(analysis: Analysis, count: int) -> tuple[Batch, ...]:
    """MVF of each of `count` batches of images. Raises StudyError where there are fewer images, or sites lack some."""
    Experiments(batches=count).check(analysis.question.sampling)
    measured, images = analysis.estimates.measured, len(analysis.assembly.dataset)
    if count > images:
        raise StudyError(f"--image-batches is {count}, but there are {images} images.")
    factors = analysis.estimates.factors
    wanted = factors.mvf("weights"), factors.mvf("activations"), factors.total(*analysis.estimates.sizes)
    found = []
    for part in np.array_split(np.arange(images), count):
        rates = np.array([float(m.pairs[:, part].mean(dtype=np.float64)) for m in measured])
        found.append(Batch(int(part[0]), len(part), *(_joined(analysis, weights, rates) for weights in wanted)))
    return tuple(found)


def _joined(analysis: Analysis, weights: Weights | None, rates: Array) -> float | None:
    return None if weights is None else float(analysis.estimates.shares(weights) @ rates)
