"""CVF, the vulnerability of each channel, out of a study whose draws knew nothing of channels.

Within one stratum of a study every fault of a channel is as likely to be drawn as any other, so the draws that fell
into a channel are a fair sample of it, bit class by bit class; the classes join by their faults, as in an LVF. A class
of which a channel saw nothing counts with the layer's own rate in the value, and with all its weight in the interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxfi.engine.probe import Probe
from onnxfi.faults.space import Region
from onnxfi.graph.channels import activation_axis, channels_of
from onnxfi.graph.network import Layer, Network
from onnxfi.metrics.estimate import stratified_interval
from onnxfi.metrics.outcome import CRITICAL
from onnxfi.study.rates import Rates
from onnxfi.study.result import Result
from onnxfi.study.targets import Targets

Indices = NDArray[np.int64]
ChannelOf = Callable[[Indices], Indices]

_TOGETHER = 64  # channels whose intervals are computed in one go


@dataclass(frozen=True)
class ChannelRate:
    """CVF of one channel; value, low and high are None where no trial fell into it."""

    target: str
    layer: int
    channel: int
    trials: int
    value: float | None
    low: float | None
    high: float | None


def channel_rates(
    network: Network, probe: Probe, targets: Targets, rates: Rates, results: Iterable[Result]
) -> Iterator[ChannelRate]:
    """Every channel of every layer asked for, in the order of the layers; activations after weights.

    rates: of the same study, its counts complete; results: all its units.
    """
    maps = [_channels(network, probe, region) for region in targets.space.regions]
    counts = [count for count, _ in maps]
    strata = rates.strata
    trials = [np.zeros(0, np.int64)] * len(strata)
    critical = [np.zeros(0, np.int64)] * len(strata)
    width = _widths(targets.space.regions, counts)
    for h, stratum in enumerate(strata):
        trials[h] = np.zeros(width[stratum.target, stratum.layer], np.int64)
        critical[h] = trials[h].copy()
    for result in results:
        each = len(result.records) // max(1, sum(piece.stop - piece.start for piece in result.unit.pieces))
        at = 0
        for piece in result.unit.pieces:
            records = result.records[at : at + (piece.stop - piece.start) * each]
            at += len(records)
            region, site, _ = targets.space.locate(records["fault"])
            for number in np.unique(region):
                here = region == number
                if counts[number] != len(trials[piece.stratum]):
                    continue  # a scalar beside a layer of channels belongs to none of them
                channel = maps[number][1](site[here].astype(np.int64))
                np.add.at(trials[piece.stratum], channel, 1)
                np.add.at(critical[piece.stratum], channel, records["outcome"][here] == CRITICAL)
    for target in ("weights", "activations"):
        for layer in targets.layers:
            home = layer.index if target == "weights" else targets.activation_home(layer.index)
            members = [h for h, s in enumerate(strata) if (s.target, s.layer) == (target, home)]
            if members:
                seen, hit = np.stack([trials[h] for h in members]), np.stack([critical[h] for h in members])
                yield from _rates(target, layer.index, seen, hit, members, rates)


def _rates(
    target: str, layer: int, trials: Indices, critical: Indices, members: list[int], rates: Rates
) -> Iterator[ChannelRate]:
    """trials, critical: (strata of the layer, channels). Of a crossed plan what was drawn is faults, not trials."""
    channels, each = trials.shape[1], rates.images if rates.crossed else 1
    drawn, seen = trials / each, critical / each
    faults = np.array([float(rates.strata[h].population) for h in members])
    weight = faults / faults.sum()
    pooled = seen.sum(axis=1) / np.maximum(drawn.sum(axis=1), 1)
    # Of a stratum split by a static feature a channel may hold any share; so it never counts as seen whole.
    size = np.where([bool(rates.strata[h].feature) for h in members], np.inf, rates.size[members] / channels)[:, None]
    rate = np.where(drawn > 0, seen / np.maximum(drawn, 1), pooled[:, None])
    value = np.clip(weight @ rate, 0.0, 1.0)
    for start in range(0, channels, _TOGETHER):
        stop = min(start + _TOGETHER, channels)
        n, x = drawn[:, start:stop], seen[:, start:stop]
        spread = np.kron(np.eye(stop - start), weight)
        sizes = np.broadcast_to(size, n.shape)
        _, low, high = stratified_interval(spread, x.T.ravel(), n.T.ravel(), sizes.T.ravel(), rates.confidence)
        for channel in range(start, stop):
            total = int(trials[:, channel].sum())
            if not total:
                yield ChannelRate(target, layer, channel, 0, None, None, None)
                continue
            bounds = float(low[channel - start]), float(high[channel - start])
            yield ChannelRate(target, layer, channel, total, float(value[channel]), *bounds)


def _widths(regions: Iterable[Region], counts: list[int]) -> dict[tuple[str, int], int]:
    """Channels of each (target, layer): those of its first region, the weight."""
    widths: dict[tuple[str, int], int] = {}
    for region, count in zip(regions, counts, strict=True):
        widths.setdefault((region.target, region.layer), count)
    return widths


def _channels(network: Network, probe: Probe, region: Region) -> tuple[int, ChannelOf]:
    layer = network.layers[region.layer]
    if region.target == "activations":
        return _activation_channels(network, probe, layer, region)
    parameter = next(p for p in layer.parameters if p.tensor == region.tensor)
    return channels_of(network, layer, parameter)


def _activation_channels(network: Network, probe: Probe, layer: Layer, region: Region) -> tuple[int, ChannelOf]:
    rows = probe.rows(region.tensor)
    axis = activation_axis(network, layer, region.tensor)
    batch, shape = rows.layout.axis, rows.shape
    if axis >= 0 and rows.layout.repeat == 1:
        axis = axis - 1 if axis > batch else len(shape) if axis == batch else axis
    if not -len(shape) <= axis < len(shape):
        return 1, lambda site: np.zeros_like(site)

    def channel(site: Indices) -> Indices:
        return np.unravel_index(site // region.operands, shape)[axis].astype(np.int64)

    return shape[axis], channel
