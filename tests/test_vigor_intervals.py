"""Intervals of sampled analyses, tested by drawing from made-up and real tables whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from onnxfi.faults.space import FaultSpace, Region
from onnxfi.graph.channels import Channels
from onnxfi.metrics.clustered import cluster_variance, intraclass_correlation, moment_interval
from onnxfi.study.targets import LayerName, Targets
from onnxfi.vigor.alike import spread
from onnxfi.vigor.estimates import Estimates
from onnxfi.vigor.measured import Measured
from onnxfi.vigor.pairs import Audit
from onnxfi.vigor.sample import draw
from onnxfi.vigor.settings import Sampling

BITS = tuple(range(31, -1, -1))


def test_the_rule_of_three_and_a_known_rate() -> None:
    """No critical one of n: at 95 % two-sided the upper limit is -ln(0.025)/n = 3.69/n (Poisson)."""
    assert moment_interval(0.0, 0.0, 0.01, 0.0, 0.95) == (0.0, pytest.approx(0.03689, rel=1e-3))
    assert moment_interval(0.25, 0.0, 0.0, 0.0, 0.99) == (0.25, 0.25)
    low, high = moment_interval(1.0, 0.0, 0.01, 0.01, 0.95)
    assert (1 - high, 1 - low) == (0.0, pytest.approx(0.03689, rel=1e-3))


def test_clusters_that_are_alike_are_found() -> None:
    """Values all equal in a cluster: correlation 1. Values without regard to clusters: near 0."""
    rng = np.random.default_rng(0)
    cluster = np.repeat(np.arange(50), 6)
    assert intraclass_correlation([(rng.random(50)[cluster], cluster)]) == pytest.approx(1.0)
    assert intraclass_correlation([(rng.random(300), cluster)]) < 0.1
    assert intraclass_correlation([(rng.random(3), np.zeros(3, np.int64))]) == 0


def test_variance_of_a_two_stage_sample() -> None:
    """Against 4,000 simulated samples of 5 of 20 clusters, 4 of 30 values of each."""
    rng = np.random.default_rng(1)
    table = rng.standard_normal((20, 1)) + rng.standard_normal((20, 30))
    means = []
    for _ in range(4000):
        clusters = rng.choice(20, 5, replace=False)
        means.append(np.mean([rng.choice(table[c], 4, replace=False) for c in clusters]))
    rho = intraclass_correlation([(table.reshape(-1), np.repeat(np.arange(20), 30))])
    claimed = cluster_variance(float(table.var()), rho, 5, 20, 20, 600)
    assert claimed == pytest.approx(np.var(means), rel=0.15)


def tables(seed: int) -> list[np.ndarray]:
    """VF of each site and bit, (channels, sites, 32), of made-up layers: bit 30 of rates that differ by channel, some
    near 0 and some near 1, the next bits rarely, the others never."""
    rng, found = np.random.default_rng(seed), []
    for channels, sites, mean in ((16, 27, 0.4), (16, 144, 0.9), (32, 144, 0.05), (64, 100, 0.3), (10, 64, 0.0)):
        table = np.zeros((channels, sites, 32))
        own = np.clip(mean + 0.2 * rng.standard_normal(channels), 0, 1) if mean else np.zeros(channels)
        table[:, :, 1] = rng.random((channels, sites)) < own[:, None]
        for bit in (0, 2, 3):
            table[:, :, bit] = rng.random((channels, sites)) < 0.1 * own[:, None]
        found.append(table)
    return found


def test_intervals_cover_the_truth() -> None:
    """300 samples of 20 % of channels and a logarithm of their weights: 99 % intervals of MVF cover in at least 97 % of
    them (0.99 less three standard errors of 300 draws), and those of all LVFs together likewise."""
    layers = tables(5)
    regions = [Region("weights", "weight", i, f"w{i}", t.shape[0] * t.shape[1], "float32", BITS)
               for i, t in enumerate(layers)]  # fmt: skip
    channels = [Channels.along(t.shape[:2], 0) for t in layers]
    names = tuple(LayerName(i, f"w{i}", "Conv") for i in range(len(layers)))
    targets = Targets(FaultSpace(regions), names, tuple(channels), {}, {}, ())
    truth = [float(t.mean()) for t in layers]
    mvf, lvf = [], []
    for seed in range(300):
        measured = []
        for i, (region, table) in enumerate(zip(regions, layers, strict=True)):
            drawn = draw(i, channels[i], region.sites, 1, Sampling(channels=0.2, seed=seed))
            bits = table.reshape(-1, 32)[drawn.site]
            bounds = np.zeros((len(bits), 1), np.float32)
            pairs = bits.mean(axis=1, keepdims=True).astype(np.float32)
            measured.append(Measured(region, drawn, bits, pairs, bounds, bounds, 0, Audit(), (bits, pairs)))
        found = Estimates(targets, measured, 0.99)
        model = found.estimate(found.factors.mvf("weights"))
        assert model is not None
        mvf.append(model.low <= np.mean(truth) <= model.high)
        for i, true in enumerate(truth):
            layer = found.estimate(found.factors.lvf("weights", i))
            assert layer is not None
            lvf.append(layer.low <= true <= layer.high)
    print(f"\ncoverage: MVF {np.mean(mvf):.3f}, LVF {np.mean(lvf):.3f}")
    assert np.mean(mvf) >= 0.97
    assert np.mean(lvf) >= 0.97


def sampled(table: np.ndarray, seed: int) -> Measured:
    """20 % of the channels and a logarithm of the sites of a made-up layer (channels, sites, 32)."""
    region = Region("weights", "weight", 0, "w", table.shape[0] * table.shape[1], "float32", BITS)
    drawn = draw(0, Channels.along(table.shape[:2], 0), region.sites, 1, Sampling(channels=0.2, seed=seed))
    bits = table.reshape(-1, 32)[drawn.site]
    pairs = bits.mean(axis=1, keepdims=True).astype(np.float32)
    bounds = np.zeros((len(bits), 1), np.float32)
    return Measured(region, drawn, bits, pairs, bounds, bounds, 0, Audit(), (bits, pairs))


def test_channels_that_are_unlike_are_named_and_others_are_not() -> None:
    """64 channels of 100 sites, bit 30 critical at half of them; or, unlike, everywhere in every other channel and
    nowhere else: VFs 1/32 and 0, a spread of one mean."""
    alike, unlike = np.zeros((64, 100, 32)), np.zeros((64, 100, 32))
    alike[:, :, 1] = np.random.default_rng(3).random((64, 100)) < 0.5
    unlike[::2, :, 1] = 1
    found = [spread(sampled(unlike, seed)) for seed in range(40)]
    assert all(value is not None for value in found)
    assert np.mean([value for value in found if value]) == pytest.approx(1, abs=0.1)
    assert sum(spread(sampled(alike, seed)) is not None for seed in range(40)) <= 2


def test_rates_of_channels_and_bits_by_hand() -> None:
    """Two channels of two weights: bit 30 critical in three of four, so LVF 3/128, CVF 2/64 and 1/64, BVF 3/4."""
    region = Region("weights", "weight", 0, "w", 4, "float32", BITS)
    targets = Targets(FaultSpace([region]), (LayerName(0, "w", "Conv"),), (Channels.along((2, 2), 0),), {}, {}, ())
    bits = np.zeros((4, 32))
    bits[:3, 1] = 1
    drawn = draw(0, targets.channels[0], 4, 1, Sampling())
    zeros = np.zeros((4, 1), np.float32)
    found = Estimates(targets, [Measured(region, drawn, bits, zeros, zeros, zeros, 9, Audit(), (bits, zeros))], 0.99)
    lvf = found.estimate(found.factors.lvf("weights", 0))
    assert lvf is not None
    assert (lvf.value, lvf.low, lvf.high) == (3 / 128, 3 / 128, 3 / 128)
    assert [rate.value for _, rate in found.channels(0)] == [2 / 64, 1 / 64]
    assert found.bit("weights", "float32", 30).value == 3 / 4
    assert found.bit("weights", "float32", 29).value == 0
