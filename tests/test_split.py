"""Strata of weights by sign: counted exactly, drawn by the model's own weights, and fair to channels."""

from __future__ import annotations

import numpy as np
import pytest

from onnxfi.errors import FaultError
from onnxfi.faults.bits import Word
from onnxfi.faults.space import FaultSpace, Region
from onnxfi.graph.channels import Channels
from onnxfi.metrics.outcome import CRITICAL, NON_CRITICAL, RECORD
from onnxfi.study.channels import channel_rates
from onnxfi.study.rates import Rates
from onnxfi.study.result import Cost, Result
from onnxfi.study.scheme import describe, make_scheme
from onnxfi.study.settings import Plan, Precision
from onnxfi.study.split import channel_faults, split_bits
from onnxfi.study.targets import LayerName, Targets
from onnxfi.study.units import draw, units

ALL = tuple(range(31, -1, -1))
RNG = np.random.default_rng(5)
SHARES = np.array([0.1, 0.5, 0.7, 1.0])  # of negative weights in the channels
STORED = {
    "conv.weight": np.where(RNG.random((4, 3, 5, 5)) < SHARES[:, None, None, None], -0.5, 0.5).astype(np.float32),
    "conv.bias": np.array([-1, 1, 1, 1], np.float32),
    "quant.weight": np.full((4, 4), -3, np.int8),
}
REGIONS = [
    Region("weights", "weight", 0, "conv.weight", 300, "float32", ALL),
    Region("weights", "bias", 0, "conv.bias", 4, "float32", ALL),
    Region("weights", "weight", 1, "quant.weight", 16, "int8", tuple(range(7, -1, -1))),
    Region("activations", "input", 0, "image", 50, "float32", ALL),
]
TARGETS = Targets(
    FaultSpace(REGIONS),
    (LayerName(0, "conv", "Conv"), LayerName(1, "quant", "Gemm")),
    (
        Channels.along((4, 3, 5, 5), 0),
        Channels.along((4,), 0),
        Channels.along((4, 4), 0),
        Channels.along((2, 5, 5), 0),
    ),
    {"image": (0,)},
    {0: 100, 1: 4},
    (),
)
NEGATIVE = (STORED["conv.weight"] < 0).reshape(4, -1).sum(axis=1)
PLAN = describe(Plan(), Precision(), TARGETS, STORED.__getitem__)


def test_only_weights_in_floating_point_are_split_and_only_at_the_top_exponent_bit() -> None:
    assert split_bits(Word("float32")) == (30,)
    assert split_bits(Word("bfloat16")) == (14,)
    assert split_bits(Word("float64")) == (62,)
    assert split_bits(Word("int8")) == ()
    assert dict(PLAN) == {"kind": "adaptive", "negative": {"0": " ".join(map(str, NEGATIVE))}}
    scheme = make_scheme(PLAN, Precision(), TARGETS, 10, STORED.__getitem__)
    split = {(s.layer, s.bits, s.feature): s.population for s in scheme.strata if s.feature}
    negative = int(NEGATIVE.sum())
    # The four biases are no weights: at bit 30 they are a stratum of their own.
    assert split == {(0, (30,), "0"): 300 - negative, (0, (30,), "1"): negative}
    assert sum(s.population for s in scheme.strata) == TARGETS.space.size


def test_the_plan_alone_counts_but_does_not_draw() -> None:
    drawn = make_scheme(PLAN, Precision(), TARGETS, 10, STORED.__getitem__).strata
    counted = make_scheme(PLAN, Precision(), TARGETS, 10).strata
    assert counted == drawn
    assert [s.population for s in counted] == [s.population for s in drawn]
    place = next(h for h, s in enumerate(counted) if s.feature)
    with pytest.raises(FaultError, match="model at hand"):
        counted[place].faults(np.array([0]))
    _, site, bit = TARGETS.space.locate(drawn[place].faults(np.arange(drawn[place].population)))
    assert set(bit.tolist()) == {30}
    assert (STORED["conv.weight"].ravel()[site.astype(np.int64)] > 0).all()


def test_channels_know_their_share_of_each_stratum() -> None:
    strata = make_scheme(PLAN, Precision(), TARGETS, 10).strata
    by_feature = {s.feature: s for s in strata if s.target == "weights" and s.layer == 0 and s.bits == (30,)}
    negative = PLAN["negative"]
    assert channel_faults(TARGETS, by_feature["1"], 4, negative).tolist() == NEGATIVE.tolist()
    assert channel_faults(TARGETS, by_feature["0"], 4, negative).tolist() == (75 - NEGATIVE).tolist()
    assert channel_faults(TARGETS, by_feature[""], 4, negative).tolist() == [1.0] * 4


def test_channel_rates_of_a_split_study_are_the_channels_own() -> None:
    """Every flip of bit 30 of a positive weight is critical, nothing else: a channel's CVF is its positive share of the
    weights, among its 76 stored numbers and their 32 bits. The study sees nearly all of the one stratum and a few
    trials of the others, so that pooling the draws, or the layer's own shares, would be far off."""
    scheme = make_scheme(PLAN, Precision(), TARGETS, 1, STORED.__getitem__)
    allocation = np.array([s.population if s.feature == "0" else min(40, s.population) for s in scheme.strata])
    nothing = np.zeros_like(allocation)
    results, counts = [], np.zeros((len(allocation), 4), np.int64)
    for unit in units(0, allocation, nothing, scheme.strata, 1):
        trials = draw(unit, TARGETS.space, scheme.strata, 1, 3)
        region, site, bit = TARGETS.space.locate(trials["fault"])
        hit = (region == 0) & (bit == 30)
        hit[hit] &= STORED["conv.weight"].ravel()[site[hit].astype(np.int64)] > 0
        records = np.zeros(len(trials), RECORD)
        records["fault"], records["finite"] = trials["fault"], 1
        records["outcome"] = np.where(hit, CRITICAL, NON_CRITICAL)
        result = Result(unit, records, Cost())
        results.append(result)
        for piece, row in zip(unit.pieces, result.counts(), strict=True):
            counts[piece.stratum] += row
    rates = Rates(scheme.strata, allocation, counts, 1, False, 0.99)
    found = [r for r in channel_rates(TARGETS, rates, results, PLAN["negative"]) if r.layer == "conv"]
    weights = [r for r in found if r.target == "weights"]
    assert [r.value for r in weights] == pytest.approx((75 - NEGATIVE) / (76 * 32))
    for rate, truth in zip(weights, (75 - NEGATIVE) / (76 * 32), strict=True):
        assert rate.low is not None
        assert rate.high is not None
        assert rate.low <= truth + 1e-12
        assert rate.high >= truth - 1e-12
