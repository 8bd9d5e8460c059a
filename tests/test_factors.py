"""Vulnerability factors on a network of two layers that read one activation tensor, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxfi.faults.space import FaultSpace, Region, Stratum
from onnxfi.metrics.factors import Factors, Weights

# Two layers; both read the activation tensor `x` of 5 words. Two bits of each word may flip.
SPACE = FaultSpace(
    [
        Region("weights", "weight", 0, "w0", 10, "float32", (31, 30)),
        Region("weights", "weight", 1, "w1", 30, "float32", (31, 30)),
        Region("activations", "input", 0, "x", 5, "float32", (31, 30)),
    ]
)
STRATA = SPACE.strata()
FACTORS = Factors(STRATA, {"weights": (0, 1), "activations": (0, 0)})

# Rates of the six strata: bits 31 and 30 of w0, of w1 and of x.
RATES = np.array([0.0, 0.2, 0.0, 0.4, 0.1, 0.5])


def rate(weights: Weights | None) -> float:
    assert weights is not None
    assert weights.sum() == pytest.approx(1)
    return float(weights @ RATES)


def test_the_strata_are_as_the_example_says() -> None:
    assert [(s.target, s.layer, s.bits, s.population) for s in STRATA] == [
        ("weights", 0, (31,), 10),
        ("weights", 0, (30,), 10),
        ("weights", 1, (31,), 30),
        ("weights", 1, (30,), 30),
        ("activations", 0, (31,), 5),
        ("activations", 0, (30,), 5),
    ]


def test_lvf_is_the_mean_over_the_faults_of_what_the_layer_reads() -> None:
    assert rate(FACTORS.lvf("weights", 0)) == pytest.approx((0.0 + 0.2) / 2)
    assert rate(FACTORS.lvf("weights", 1)) == pytest.approx((0.0 + 0.4) / 2)
    # Both layers read x, so both have its VF.
    assert rate(FACTORS.lvf("activations", 0)) == pytest.approx((0.1 + 0.5) / 2)
    assert rate(FACTORS.lvf("activations", 1)) == pytest.approx((0.1 + 0.5) / 2)


def test_mvf_is_the_plain_mean_of_the_layers() -> None:
    assert rate(FACTORS.mvf("weights")) == pytest.approx((0.1 + 0.2) / 2)
    assert rate(FACTORS.mvf("activations")) == pytest.approx(0.3)


def test_eq_15() -> None:
    """Outputs of 4 and 8 elements, 10 and 30 weights: (4 0.3 + 10 0.1) / 14 and (8 0.3 + 30 0.2) / 38, then the mean.

    N_l counts the layer's own output, whatever tensor it reads.
    """
    first, second = 2.2 / 14, 8.4 / 38
    assert rate(FACTORS.layer_total(0, 4, 10)) == pytest.approx(first)
    assert rate(FACTORS.layer_total(1, 8, 30)) == pytest.approx(second)
    assert rate(FACTORS.total([4, 8], [10, 30])) == pytest.approx((first + second) / 2)
    with pytest.raises(ValueError, match="zip"):
        FACTORS.total([4, 8], [10])


def test_the_population_counts_shared_words_once() -> None:
    # Critical faults: 10 0.2 of w0, 30 0.4 of w1, 5 0.1 + 5 0.5 of x: 17 of 90.
    assert rate(FACTORS.population()) == pytest.approx(17 / 90)
    assert rate(FACTORS.population("weights")) == pytest.approx(14 / 80)
    assert rate(FACTORS.population("activations")) == pytest.approx(3 / 10)


def test_bvf_is_over_all_words_of_a_dtype() -> None:
    assert rate(FACTORS.bits("weights", "float32", (30,))) == pytest.approx((10 * 0.2 + 30 * 0.4) / 40)
    assert rate(FACTORS.bits("activations", "float32", (31,))) == pytest.approx(0.1)
    assert FACTORS.bits("weights", "float32", (29,)) is None
    assert FACTORS.bits("weights", "float16", (30,)) is None


def test_a_shared_tensor_is_one_layers_own() -> None:
    assert FACTORS.targets == ("weights", "activations")
    assert FACTORS.own_layers("weights") == (0, 1)
    assert FACTORS.own_layers("activations") == (0,)


def test_a_layer_that_has_nothing_here_is_left_out_of_every_mean() -> None:
    """The second layer's activations are not in this study (None), and there is a third layer of weights alone."""
    space = FaultSpace([*SPACE.regions, Region("weights", "weight", 2, "w2", 1, "float32", (31,))])
    factors = Factors(space.strata(), {"weights": (0, 1, 2), "activations": (0, None, None)})
    rates = np.append(RATES, 0.9)

    def told(weights: Weights | None) -> float:
        assert weights is not None
        return float(weights @ rates)

    assert factors.lvf("activations", 1) is None
    assert told(factors.mvf("activations")) == pytest.approx(0.3)
    assert told(factors.mvf("weights")) == pytest.approx((0.1 + 0.2 + 0.9) / 3)
    assert factors.layer_total(1, 8, 30) is None
    assert factors.layer_total(2, 8, 1) is None
    assert told(factors.total([4, 8, 8], [10, 30, 1])) == pytest.approx(2.2 / 14)


def test_nothing_there_is_none() -> None:
    weights_only = Factors(STRATA[:4], {"weights": (0, 1)})
    assert weights_only.targets == ("weights",)
    assert weights_only.mvf("activations") is None
    assert weights_only.total([4, 8], [10, 30]) is None
    assert weights_only.population("activations") is None
    assert weights_only.own_layers("activations") == ()
    for layer in (2, -1):
        assert weights_only.lvf("weights", layer) is None
    # A target that was asked for, of which there is no stratum.
    nothing = Factors(STRATA[:4], {"weights": (0, 1), "activations": (0, 0)})
    assert nothing.targets == ("weights",)
    assert nothing.mvf("activations") is None
    assert nothing.own_layers("activations") == ()


def test_dtypes_of_one_layer_count_by_their_faults() -> None:
    """A layer of 4 float32 words with 2 bits and of 6 int8 words with 1: 8 faults of rate 0.5, 6 of rate 0."""
    space = FaultSpace(
        [
            Region("weights", "weight", 0, "w", 4, "float32", (31, 30)),
            Region("weights", "bias", 0, "b", 6, "int8", (7,)),
        ]
    )
    strata = space.strata()
    factors = Factors(strata, {"weights": (0,)})
    rates = np.array([0.5 if stratum.dtype == "float32" else 0.0 for stratum in strata])
    whole = factors.lvf("weights", 0)
    assert whole is not None
    assert float(whole @ rates) == pytest.approx(8 * 0.5 / 14)
    assert factors.bits("weights", "int8", (7,)) == pytest.approx([0.0, 0.0, 1.0])


@settings(derandomize=True, deadline=None, max_examples=30)
@given(flags=st.lists(st.booleans(), min_size=10, max_size=10), seed=st.integers(0, 2**32 - 1))
def test_splitting_strata_changes_no_factor(flags: list[bool], seed: int) -> None:
    """Bit 30 of w0 falls in two, each half with the mean rate of its own faults: all factors are what they were."""
    split = SPACE.strata({0: np.array(flags)}, lambda word: (30,))
    of_fault = np.random.default_rng(seed).random(SPACE.size)

    def factors(strata: tuple[Stratum, ...]) -> list[float]:
        own = Factors(strata, {"weights": (0, 1), "activations": (0, 0)})
        rates = np.array([of_fault[stratum.faults(np.arange(stratum.population))].mean() for stratum in strata])
        weights = [own.lvf("weights", 0), own.mvf("weights"), own.total([4, 8], [10, 30]), own.population()]
        weights.append(own.bits("weights", "float32", (30,)))
        assert all(entry is not None for entry in weights)
        return [float(entry @ rates) for entry in weights if entry is not None]

    assert factors(split) == pytest.approx(factors(STRATA))
