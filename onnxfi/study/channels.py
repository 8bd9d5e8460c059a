"""CVF, the vulnerability of each channel, out of a study whose draws knew nothing of channels.

Within one stratum of a study every fault of a channel is as likely to be drawn as any other, so the draws that fell
into a channel are a fair sample of it, stratum by stratum; the strata join by the channel's faults in each, as in an
LVF. One of which a channel saw nothing counts with the layer's own rate in the value, and with all its weight in the
interval.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxfi.metrics.estimate import stratified_interval
from onnxfi.metrics.outcome import CRITICAL
from onnxfi.study.rates import Rates
from onnxfi.study.result import Result
from onnxfi.study.split import Negative, channel_faults
from onnxfi.study.targets import Targets

Counts = NDArray[np.int64]

_TOGETHER = 64  # channels whose intervals are computed in one go


@dataclass(frozen=True)
class ChannelRate:
    """CVF of one channel; value, low and high are None where no trial fell into it."""

    target: str
    layer: str
    channel: int
    trials: int
    value: float | None
    low: float | None
    high: float | None


def channel_rates(
    targets: Targets, rates: Rates, results: Iterable[Result], negative: Negative
) -> Iterator[ChannelRate]:
    """Every channel of every layer asked for, layer by layer; weights first, then activations.

    rates: the study's complete counts; results: all its units; negative: what its strata are split by.
    """
    width: dict[tuple[str, int], int] = {}  # of each (target, layer): that of its first region, the weight
    for region, channels in zip(targets.space.regions, targets.channels, strict=True):
        width.setdefault((region.target, region.layer), channels.count)
    trials = [np.zeros(width[stratum.target, stratum.layer], np.int64) for stratum in rates.strata]
    critical = [np.zeros_like(counts) for counts in trials]
    for result in results:
        _count(targets, result, trials, critical)
    for target in ("weights", "activations"):
        for layer in targets.layers:
            home = targets.home(target, layer.index)
            members = [h for h, s in enumerate(rates.strata) if (s.target, s.layer) == (target, home)]
            if members:
                seen, hit = np.stack([trials[h] for h in members]), np.stack([critical[h] for h in members])
                channels = seen.shape[1]
                faults = [channel_faults(targets, rates.strata[h], channels, negative) for h in members]
                yield from _rates(target, layer.id, seen, hit, np.stack(faults), rates)


def _count(targets: Targets, result: Result, trials: list[Counts], critical: list[Counts]) -> None:
    """Add the records of one unit to the tables (channels,) of each stratum."""
    each = len(result.records) // max(1, sum(piece.stop - piece.start for piece in result.unit.pieces))
    at = 0
    for piece in result.unit.pieces:
        records = result.records[at : at + (piece.stop - piece.start) * each]
        at += len(records)
        region, site, _ = targets.space.locate(records["fault"])
        for number in np.unique(region):
            here, channels = region == number, targets.channels[number]
            if channels.count != len(trials[piece.stratum]):
                continue  # a scalar beside a layer of channels belongs to none of them
            channel = channels.of(site[here])
            np.add.at(trials[piece.stratum], channel, 1)
            np.add.at(critical[piece.stratum], channel, records["outcome"][here] == CRITICAL)


def _rates(
    target: str, layer: str, trials: Counts, critical: Counts, faults: NDArray[np.float64], rates: Rates
) -> Iterator[ChannelRate]:
    """trials, critical, faults: (strata of the layer, channels). What a crossed plan drew is faults, not trials."""
    channels, each = trials.shape[1], rates.images if rates.crossed else 1
    drawn, seen = trials / each, critical / each
    weight = faults / faults.sum(axis=0)
    pooled = seen.sum(axis=1) / np.maximum(drawn.sum(axis=1), 1)
    size = faults * (1 if rates.crossed else rates.images)
    rate = np.where(drawn > 0, seen / np.maximum(drawn, 1), pooled[:, None])
    value = np.clip((weight * rate).sum(axis=0), 0.0, 1.0)
    for start in range(0, channels, _TOGETHER):
        stop = min(start + _TOGETHER, channels)
        n, x = drawn[:, start:stop], seen[:, start:stop]
        spread = (np.eye(stop - start)[:, :, None] * weight[:, start:stop].T).reshape(stop - start, -1)
        sizes = size[:, start:stop].T.ravel()
        _, low, high = stratified_interval(spread, x.T.ravel(), n.T.ravel(), sizes, rates.confidence)
        for channel in range(start, stop):
            total = int(trials[:, channel].sum())
            if not total:
                yield ChannelRate(target, layer, channel, 0, None, None, None)
                continue
            bounds = float(low[channel - start]), float(high[channel - start])
            yield ChannelRate(target, layer, channel, total, float(value[channel]), *bounds)
