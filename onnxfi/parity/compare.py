"""Two studies compared: what each found, and the difference with its interval.

Where the second repeats the trials of the first, the interval is that of the paired difference: what counts are only
the trials that are critical in one of the two, and what both have in common cancels out. Else the two intervals are
joined.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onnxfi.errors import StudyError
from onnxfi.faults.space import Target
from onnxfi.metrics.combine import Bounds, difference
from onnxfi.metrics.estimate import Estimate
from onnxfi.metrics.factors import Factors, Weights
from onnxfi.metrics.outcome import CRITICAL
from onnxfi.metrics.safety import Groups
from onnxfi.parity.mirror import MIRRORS
from onnxfi.parity.paired import Paired, lay_side_by_side, one_sided
from onnxfi.study.channels import ChannelRate, channel_rates
from onnxfi.study.evidence import bounds
from onnxfi.study.finding import Finding
from onnxfi.study.joining import found
from onnxfi.study.journal import Journal
from onnxfi.study.rates import Rates
from onnxfi.study.scm import Setting, settings

LayerPairs = Sequence[tuple[int, int]]
"""Indices of a layer in the first network and of its twin in the second."""


@dataclass(frozen=True)
class Change:
    """One rate in both networks, and the first less the second."""

    a: Estimate
    b: Estimate
    difference: Bounds


@dataclass(frozen=True)
class LayerChange:
    """LVF of one layer, by its names in both."""

    target: Target
    layer_a: str
    layer_b: str
    change: Change


@dataclass(frozen=True)
class ChannelChange:
    """CVF of one channel that trials of both fell into."""

    target: str
    layer_a: str
    layer_b: str
    channel: int
    a: ChannelRate
    b: ChannelRate
    difference: Bounds


@dataclass(frozen=True)
class ScmChange:
    """Safety-critical misclassification on the images of one kind, in both."""

    a: Setting
    b: Setting
    sdc: Bounds
    share: Bounds | None


@dataclass(frozen=True)
class View:
    """What is counted in one network. names: by index, the layers that it is about."""

    rates: Rates
    factors: Factors
    names: Mapping[int, str]

    @classmethod
    def of(cls, finding: Finding) -> View:
        """A whole study."""
        names = {layer.index: layer.id for layer in finding.targets.layers}
        return cls(finding.rates, finding.scheme.factors, names)


@dataclass(frozen=True)
class Rows:
    """Rates of both networks side by side: MVF, VF of the whole fault space, LVF; and how trials end in both.

    cells: by target the share of the faults that end so in the first network (row) and so in the second (column):
    masked, non-critical, critical. Empty where each network had trials of its own.
    """

    mvf: Mapping[Target, Change]
    population: Mapping[Target, Change]
    layers: tuple[LayerChange, ...]
    cells: Mapping[Target, tuple[tuple[Estimate, ...], ...]]


@dataclass(frozen=True)
class Comparison:
    """paired: the same trials in both; None where each study drew its own."""

    a: Finding
    b: Finding
    rows: Rows
    channels: tuple[ChannelChange, ...]
    paired: Paired | None


def compare(a: Path, b: Path, pairs: LayerPairs | None = None) -> Comparison:
    """Compare the studies in two folders. `pairs`: which layer is which; None: as the mirror has it, else by name.

    Raises StudyError for a folder without a study, or two studies that have no layer in common.
    """
    with Journal.read(a) as one, Journal.read(b) as other:
        finding_a, finding_b = found(one), found(other)
        paired = None
        if other.identity.plan.get(MIRRORS) == one.identity.id:
            paired = lay_side_by_side(one, other, len(finding_a.rates.strata), finding_a.targets)
            pairs = _mirrored(finding_a, finding_b)
        pairs = _by_name(finding_a, finding_b) if pairs is None else pairs
        if not pairs:
            raise StudyError(f"{a} and {b} name no layer alike: give the two models, too, to match them by value.")
        return Comparison(
            finding_a,
            finding_b,
            side_by_side(View.of(finding_a), View.of(finding_b), pairs, paired),
            tuple(_channels(one, other, finding_a, finding_b, pairs, paired is not None)),
            paired,
        )


def side_by_side(a: View, b: View, pairs: LayerPairs, paired: Paired | None) -> Rows:
    """Every rate of both."""
    return Rows(
        _whole(a, b, paired, mean=True),
        _whole(a, b, paired, mean=False),
        tuple(_layers(a, b, pairs, paired)),
        _cells(a, paired) if paired else {},
    )


def compare_scm(compared: Comparison, groups: Groups) -> tuple[ScmChange, ...]:
    """Every setting of SCM that both studies have; their images are the same, their trials may not be."""
    if compared.a.evidence is None or compared.b.evidence is None:
        return ()
    there = {(row.target, row.name): row for row in settings(compared.b.evidence, groups)}
    changes = []
    for row in settings(compared.a.evidence, groups):
        other = there.get((row.target, row.name))
        if other is not None:
            share = None
            if row.share is not None and other.share is not None:
                share = difference(bounds(row.share), bounds(other.share))
            changes.append(ScmChange(row, other, difference(bounds(row.sdc), bounds(other.sdc)), share))
    return tuple(changes)


def _mirrored(a: Finding, b: Finding) -> LayerPairs:
    """Region by region, and reader by reader, a mirror has what the original has."""
    at = {r.layer: s.layer for r, s in zip(a.targets.space.regions, b.targets.space.regions, strict=True)}
    for mine, other in zip(a.targets.readers.values(), b.targets.readers.values(), strict=True):
        if len(mine) == len(other):
            at.update(zip(mine, other, strict=True))
    return sorted(at.items())


def _by_name(a: Finding, b: Finding) -> LayerPairs:
    there = {layer.id: layer.index for layer in b.targets.layers}
    return [(layer.index, there[layer.id]) for layer in a.targets.layers if layer.id in there]


def _change(a: View, b: View, one: Weights | None, other: Weights | None, paired: Paired | None) -> Change | None:
    mine, there = a.rates.estimate(one), b.rates.estimate(other)
    if one is None or mine is None or there is None:
        return None
    if paired is None:
        return Change(mine, there, difference(bounds(mine), bounds(there)))
    return Change(mine, there, _paired_difference(a.rates, one, paired))


def _paired_difference(rates: Rates, weights: Weights, paired: Paired) -> Bounds:
    """Share of faults that are critical in the first network only, less that of those critical in the second only."""
    only = [bounds(rates.of(weights, count)) for count in (paired.only_a, paired.only_b)]
    return difference(only[0], only[1], rates.correlation(weights, paired.only_a, paired.only_b))


def _whole(a: View, b: View, paired: Paired | None, *, mean: bool) -> dict[Target, Change]:
    """MVF of each target, the mean of the layers; or the VF of its whole fault space."""
    changes = {}
    for target in a.factors.targets:
        one, other = (f.mvf(target) if mean else f.population(target) for f in (a.factors, b.factors))
        change = _change(a, b, one, other, paired)
        if change is not None:
            changes[target] = change
    return changes


def _layers(a: View, b: View, pairs: LayerPairs, paired: Paired | None) -> Iterator[LayerChange]:
    for target in a.factors.targets:
        for i, j in pairs:
            change = _change(a, b, a.factors.lvf(target, i), b.factors.lvf(target, j), paired)
            if change is not None and i in a.names and j in b.names:
                yield LayerChange(target, a.names[i], b.names[j], change)


def _channels(
    one: Journal, other: Journal, a: Finding, b: Finding, pairs: LayerPairs, paired: bool
) -> list[ChannelChange]:
    names_a, names_b = View.of(a).names, View.of(b).names
    twin = {names_a[i]: names_b[j] for i, j in pairs if i in names_a and j in names_b}
    there = {_key(row): row for row in b.channels}
    only: list[dict[tuple[str, str, int], ChannelRate]] = []
    if paired:
        negative = one.identity.plan.get("negative", {})
        only = [
            {_key(row): row for row in channel_rates(a.targets, a.rates, one_sided(one, other, first), negative)}
            for first in (True, False)
        ]
    changes = []
    for row in a.channels:
        match = there.get((row.target, twin.get(row.layer, ""), row.channel))
        mine = [_limits(side[_key(row)]) for side in only] if paired else [_limits(row), _limits(match)]
        if match is None or _limits(row) is None or _limits(match) is None:
            continue
        first, second = mine
        assert first is not None and second is not None
        apart = difference(first, second, _excluding(first.value, second.value) if paired else 0.0)
        changes.append(ChannelChange(row.target, row.layer, match.layer, row.channel, row, match, apart))
    return changes


def _key(row: ChannelRate) -> tuple[str, str, int]:
    return row.target, row.layer, row.channel


def _limits(row: ChannelRate | None) -> Bounds | None:
    if row is None or row.value is None or row.low is None or row.high is None:
        return None
    return Bounds(row.value, row.low, row.high)


def _excluding(p: float, q: float) -> float:
    """The correlation of the counts of two outcomes of one trial that exclude each other."""
    return -float(np.sqrt(p * q / ((1 - p) * (1 - q)))) if max(p, q) < 1 else 0.0


def _cells(a: View, paired: Paired) -> dict[Target, tuple[tuple[Estimate, ...], ...]]:
    found = {}
    outcomes = range(CRITICAL + 1)
    for target in a.factors.targets:
        weights = a.factors.population(target)
        if weights is not None:
            found[target] = tuple(
                tuple(a.rates.of(weights, paired.confusion[:, i, j]) for j in outcomes) for i in outcomes
            )
    return found
