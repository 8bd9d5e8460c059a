"""Intervals of weighted sums of rates, against closed forms, exact distributions and hand computations."""

from __future__ import annotations

from math import exp, hypot, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom, chi2, norm

from onnxfi.metrics.estimate import (
    Estimate,
    achieved_margin,
    normal_deviate,
    sample_size,
    stratified_interval,
)

STEADY = settings(derandomize=True, deadline=None)
ENDLESS = 1e15
"""A population beside which no sample counts."""


def single(x: float, n: int, confidence: float = 0.95, N: float = ENDLESS) -> tuple[float, float, float]:
    """Value, low and high of one stratum."""
    value, low, high = stratified_interval([1.0], [x], [n], [N], confidence)
    return float(value[0]), float(low[0]), float(high[0])


@st.composite
def studies(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Weights that sum to 1, and x, n and N, of up to six strata, some unseen and some seen whole."""
    strata = draw(st.integers(1, 6))
    weight = np.array(draw(st.lists(st.integers(1, 50), min_size=strata, max_size=strata)), float)
    n = np.array(draw(st.lists(st.integers(0, 200), min_size=strata, max_size=strata)))
    x = np.array([draw(st.integers(0, int(count))) for count in n])
    more = np.array(draw(st.lists(st.sampled_from([0, 1, 50, 10**9]), min_size=strata, max_size=strata)))
    return weight / weight.sum(), x, n, np.maximum(n + more, 1)


# One stratum


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("n", [1, 8, 100, 10_000])
def test_without_an_event_it_is_the_rule_of_three(n: int, confidence: float) -> None:
    """No event: the upper limit has mean 1/n and deviation 1/n, so is exponential, and its quantile ln(2/alpha)/n.

    (The rule of three is one-sided, at 95 %: ln(1/0.05) = 3.0.)
    """
    upper = min(log(2 / (1 - confidence)) / n, 1.0)
    assert single(0, n, confidence) == pytest.approx((0.0, 0.0, upper))
    assert single(n, n, confidence) == pytest.approx((1.0, 1 - upper, 1.0))


def test_rare_events_have_poisson_limits() -> None:
    """Garwood's exact limits, chi2(alpha/2; 2x)/2 and chi2(1 - alpha/2; 2x + 2)/2: 5 events at 95 %, 1.623 to 11.668
    in any table."""
    n = 10**9
    value, low, high = (n * bound for bound in single(5, n))
    assert (value, low, high) == pytest.approx((5, 1.6235, 11.6683), abs=1e-4)
    for x in (1, 2, 30):
        expected = (x, chi2.ppf(0.005, 2 * x) / 2, chi2.ppf(0.995, 2 * x + 2) / 2)
        assert [n * bound for bound in single(x, n, 0.99)] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("confidence", [0.9, 0.99])
@pytest.mark.parametrize("n", [1, 8, 50, 400])
def test_beside_clopper_and_pearson(n: int, confidence: float) -> None:
    """Exact binomial limits, of the rare side: the upper limit is never below theirs. The lower one may be above,
    because its gamma distribution has no spread added for the next event: by no more than 1.5 trials of the n."""
    tail = (1 - confidence) / 2
    for x in range(n // 2 + 1):
        _, low, high = single(x, n, confidence)
        exact_low = float(beta.ppf(tail, x, n - x + 1)) if x else 0.0
        exact_high = float(beta.ppf(1 - tail, x + 1, n - x))
        assert high >= min(exact_high, 1.0) - 1e-12
        assert exact_low - 1e-12 <= low <= exact_low + 1.5 / n


@pytest.mark.parametrize(("n", "least"), [(8, 0.976), (20, 0.985), (200, 0.988)])
def test_one_stratum_alone_covers(n: int, least: float) -> None:
    """Exact coverage at 99 %, summed from binomial probabilities over a fine grid of true rates: at least the 98 % that
    the design promises, but for eight trials alone (8 is what a stratum starts with), at a rate of 0.16."""
    low, high = np.array([single(x, n, 0.99)[1:] for x in range(n + 1)]).T
    truth = np.linspace(0.0005, 0.9995, 1000)[:, None]
    inside = (low <= truth) & (truth <= high)
    coverage = (binom.pmf(np.arange(n + 1), n, truth) * inside).sum(axis=1)
    assert coverage.min() >= least


def test_a_half_seen_population_by_hand() -> None:
    """4 of 20 out of 40: theta 0.2, v = 0.2 0.8 / 20 (1 - 20/40) = 0.004, m = 0.05. A gamma distribution of mean a and
    variance b has shape a^2/b and scale b/a; with 2 shape degrees of freedom chi-square is its double."""
    value, low, high = single(4, 20, N=40)
    assert value == pytest.approx(0.2)
    assert low == pytest.approx(chi2.ppf(0.025, 2 * 0.2**2 / 0.004) / 2 * 0.004 / 0.2)
    spread = 0.004 + 0.05**2
    assert high == pytest.approx(chi2.ppf(0.975, 2 * 0.25**2 / spread) / 2 * spread / 0.25)


def test_drawing_without_replacement_narrows() -> None:
    widths = [single(4, 20, N=N)[2] - single(4, 20, N=N)[1] for N in (20, 21, 40, 1000, ENDLESS)]
    assert widths[0] == 0
    assert widths == sorted(widths)


# Seen whole, not seen at all


@pytest.mark.parametrize("x", [0, 3, 10, 20])
def test_a_population_seen_whole_is_known(x: int) -> None:
    assert single(x, 20, N=20) == pytest.approx((x / 20, x / 20, x / 20), abs=0)


def test_a_stratum_not_seen_spans_all_of_its_weight() -> None:
    assert single(0, 0) == (0.5, 0.0, 1.0)
    # Beside one that is known to be 0.1: 0.75 0.1 + 0.25 times anything from 0 to 1.
    value, low, high = stratified_interval([0.75, 0.25], [2, 0], [20, 0], [20, 100], 0.99)
    assert (value[0], low[0], high[0]) == pytest.approx((0.075 + 0.125, 0.075, 0.075 + 0.25))


def test_a_known_stratum_only_shifts() -> None:
    """Of weight 0.6 and rate 1/4, beside 0.4 of a single stratum's interval."""
    _, low, high = single(3, 50)
    value, low_, high_ = stratified_interval([0.6, 0.4], [5, 3], [20, 50], [20, ENDLESS], 0.95)
    assert (value[0], low_[0], high_[0]) == pytest.approx((0.15 + 0.4 * 0.06, 0.15 + 0.4 * low, 0.15 + 0.4 * high))


# Several strata


def test_equal_rates_in_shares_are_one_stratum() -> None:
    """Where each stratum has its share of the trials, and all have one rate, there is nothing to tell them apart."""
    n, x, N = np.array([20, 40, 100]), np.array([2, 4, 10]), np.array([400, 800, 2000])
    value, low, high = stratified_interval(n / 160, x, n, N, 0.99)
    assert (value[0], low[0], high[0]) == pytest.approx(single(16, 160, 0.99, 3200))


def test_the_rare_and_the_common_side_join_by_root_of_sum_of_squares() -> None:
    """Half of the weight 3 of 50, half 46 of 50, which is 4 that are not: the two half-widths down are the first's
    downwards and the second's, of what is not critical, upwards."""
    a, a_low, a_high = (0.5 * bound for bound in single(3, 50))
    b, b_low, b_high = (0.5 * bound for bound in single(4, 50))
    value, low, high = stratified_interval([0.5, 0.5], [3, 46], [50, 50], [ENDLESS] * 2, 0.95)
    assert value[0] == pytest.approx(0.5 * 0.06 + 0.5 * 0.92)
    assert low[0] == pytest.approx(value[0] - hypot(a - a_low, b_high - b))
    assert high[0] == pytest.approx(value[0] + hypot(a_high - a, b - b_low))


def test_many_factors_at_once_are_each_alone() -> None:
    rng = np.random.default_rng(8)
    weights, n = rng.random((5, 7)), rng.integers(8, 60, 7)
    x, N = rng.integers(0, n + 1), n + rng.integers(0, 3, 7) * 100
    together = stratified_interval(weights, x, n, N, 0.99)
    alone = [np.ravel(stratified_interval(row, x, n, N, 0.99)) for row in weights]
    assert np.transpose(together) == pytest.approx(np.array(alone))


@STEADY
@given(studies(), st.sampled_from([0.9, 0.99]))
def test_limits_are_around_the_value_and_inside_what_is_possible(study: tuple[np.ndarray, ...], level: float) -> None:
    weight, x, n, N = study
    (value,), (low,), (high,) = stratified_interval(weight, x, n, N, level)
    rate = np.where(n > 0, x / np.maximum(n, 1), 0.5)
    assert value == pytest.approx(float(weight @ rate))
    assert 0 <= low <= value + 1e-12
    assert value - 1e-12 <= high <= 1 + 1e-12


@STEADY
@given(studies())
def test_more_confidence_is_never_narrower(study: tuple[np.ndarray, ...]) -> None:
    bounds = [np.array(stratified_interval(*study, level))[:, 0] for level in (0.5, 0.8, 0.95, 0.99, 0.999)]
    values, lows, highs = np.array(bounds).T
    assert values == pytest.approx(values[0])
    assert (np.diff(lows) <= 1e-12).all()
    assert (np.diff(highs) >= -1e-12).all()


@STEADY
@given(studies())
def test_the_complement_has_the_mirrored_interval(study: tuple[np.ndarray, ...]) -> None:
    """Critical and not critical change places; a stratum of exactly one half is on the rare side either way."""
    weight, x, n, N = study
    n, N = n | 1, N | 1  # an odd number of trials has no half
    N = np.maximum(N, n)
    value, low, high = (bound[0] for bound in stratified_interval(weight, x, n, N, 0.99))
    other = [bound[0] for bound in stratified_interval(weight, n - x, n, N, 0.99)]
    assert other == pytest.approx([1 - value, 1 - high, 1 - low])


@STEADY
@given(studies(), st.integers(0, 5))
def test_a_stratum_of_no_weight_says_nothing(study: tuple[np.ndarray, ...], place: int) -> None:
    at = min(place, len(study[0]))
    more = [np.insert(array, at, extra) for array, extra in zip(study, (0.0, 3, 9, 100), strict=True)]
    expected = np.array(stratified_interval(*study, 0.99))
    assert np.array(stratified_interval(*more, 0.99)) == pytest.approx(expected)


def test_a_fraction_of_the_images_lies_between_its_neighbours() -> None:
    """Each fault on all images adds up fractions: 2.5 of 30."""
    two, half, three = single(2, 30), single(2.5, 30), single(3, 30)
    assert all(a < b < c for a, b, c in zip(two, half, three, strict=True))


# Estimates


def test_the_half_width_is_the_larger_side() -> None:
    assert Estimate(0.2, 0.15, 0.35, 10, 100).half_width == pytest.approx(0.15)
    assert Estimate(0.8, 0.65, 0.85, 10, 100).half_width == pytest.approx(0.15)
    assert Estimate(None, 0.0, 1.0, 0, 100).half_width == 1.0


# Sample sizes of the field (its published figures are in test_sample_sizes.py)


def test_normal_deviates_of_the_tables() -> None:
    # Any table of the normal distribution.
    tables = {0.9: 1.644854, 0.95: 1.959964, 0.99: 2.575829, 0.999: 3.290527}
    for confidence, deviate in tables.items():
        assert normal_deviate(confidence) == pytest.approx(deviate, abs=1e-6)
        assert norm.cdf(normal_deviate(confidence)) == pytest.approx((1 + confidence) / 2)


def test_sample_size_by_hand() -> None:
    # Without end t^2 p (1 - p) / e^2: 1.96^2 / 4 / 0.05^2 = 384.16, the 385 of every opinion poll.
    assert float(sample_size(1e15, 0.05, 1.96)) == pytest.approx(384.16)
    # N = 1001: 1001 / (1 + 1000 / 384.16).
    assert float(sample_size(1001, 0.05, 1.96)) == pytest.approx(1001 / (1 + 1000 / 384.16))
    assert float(sample_size(1, 0.05, 1.96)) == 1.0
    assert sample_size([100, 1000], 0.01, 2.58, [0.5, 0.1]).shape == (2,)


@STEADY
@given(N=st.integers(2, 10**12), margin=st.floats(1e-4, 0.5), p=st.floats(0.001, 0.5))
def test_margin_and_sample_size_are_inverse(N: int, margin: float, p: float) -> None:
    n = sample_size(N, margin, 2.58, p)
    assert 0 < n < N
    # Next to n = N the margin is the root of a difference of almost equal numbers, hence the absolute part.
    assert achieved_margin(n, N, 2.58, p) == pytest.approx(margin, rel=1e-4, abs=1e-6)


def test_a_population_seen_whole_has_no_margin() -> None:
    assert achieved_margin([50, 1], [50, 1], 2.58).tolist() == [0.0, 0.0]


def test_an_exponential_tail_is_what_it_says() -> None:
    """The limit without an event, read backwards: at the upper limit a Poisson count is 0 with probability alpha/2."""
    _, _, high = single(0, 5000, 0.99)
    assert exp(-5000 * high) == pytest.approx(0.005)
