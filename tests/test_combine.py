"""Differences, shares and binomials, against published and hand-computed limits; FIT against a hand computation."""

from __future__ import annotations

import numpy as np
import pytest

from onnxfi.metrics.combine import Bounds, binomial, difference, share
from onnxfi.metrics.estimate import Estimate
from onnxfi.metrics.fit import failures_in_time
from onnxfi.metrics.outcome import CRITICAL, MASKED, NON_CRITICAL, RECORD
from onnxfi.metrics.sdc import accuracy_flags, sdc_flags


def test_binomial_is_clopper_and_pearson() -> None:
    # 0 of 10 at 95 %: 1 - 0.025 ** (1 / 10); 10 of 10 is its mirror.
    none, all_ = binomial(0, 10, 0.95), binomial(10, 10, 0.95)
    assert (none.value, none.low) == (0.0, 0.0) and none.high == pytest.approx(1 - 0.025**0.1)
    assert (all_.value, all_.high) == (1.0, 1.0) and all_.low == pytest.approx(0.025**0.1)
    # Clopper and Pearson's classic case, 10 of 20 at 95 %: 0.272 to 0.728.
    half = binomial(10, 20, 0.95)
    assert (half.low, half.high) == (pytest.approx(0.27196, abs=1e-5), pytest.approx(0.72804, abs=1e-5))


def test_difference_by_hand() -> None:
    # Half-widths 0.03 and 0.04 downwards, and the other way round upwards: root of sum of squares is 0.05.
    a, b = Bounds(0.5, 0.47, 0.54), Bounds(0.2, 0.17, 0.24)
    found = difference(a, b)
    assert (found.value, found.low, found.high) == pytest.approx((0.3, 0.25, 0.35))
    # Perfectly opposed estimates: half-widths add.
    worst = difference(a, b, -1.0)
    assert (worst.low, worst.high) == pytest.approx((0.3 - 0.07, 0.3 + 0.07))


def test_share_has_its_ends() -> None:
    a, b = Bounds(0.03, 0.02, 0.045), Bounds(0.01, 0.005, 0.02)
    found = share(a, b)
    assert found is not None
    assert found.value == pytest.approx(0.75)
    assert 0.02 / 0.04 < found.low < 0.75 < found.high < 0.045 / 0.05  # within the corners of the two intervals
    other = share(b, a)
    assert other is not None
    assert (other.low, other.high) == pytest.approx((1 - found.high, 1 - found.low))
    never = share(Bounds(0.0, 0.0, 0.01), b)
    assert never is not None and never.value == never.low == 0.0 and 0 < never.high < 1
    assert share(Bounds(0.0, 0.0, 0.1), Bounds(0.0, 0.0, 0.1)) is None


def test_share_covers() -> None:
    """Seeded: 2,000 draws of two rare outcomes of 3,000 trials; the 95 % interval of their share holds the truth."""
    draw = np.random.RandomState(5)
    held = seen = 0
    for a, b, _ in draw.multinomial(3000, [0.012, 0.02, 0.968], size=2000):
        found = share(*(binomial(int(x), 3000, 0.95) for x in (a, b)))
        assert found is not None
        held += found.low <= 0.012 / 0.032 <= found.high
        seen += 1
    assert held / seen >= 0.945  # Clopper and Pearson's limits make it 0.95 or more, within the noise of 2,000


def test_fit_by_hand() -> None:
    # 1,000 FIT/Mbit on 8,640,000 bits (270,000 float32 words) is 8,640 raw FIT; of it 1.25 % [1 %, 2 %] critical.
    found = failures_in_time(1000.0, Estimate(0.0125, 0.01, 0.02, 500, 8_640_000))
    assert (found.value, found.low, found.high) == pytest.approx((108.0, 86.4, 172.8))
    with pytest.raises(ValueError, match="no rate"):
        failures_in_time(-1.0, Estimate(0.0125, 0.01, 0.02, 500, 8_640_000))


def test_sdc_by_hand() -> None:
    # (outcome, finite, rank, confidence), with a fault-free confidence of 0.5 throughout.
    rows = [
        (MASKED, 1, 0, 0.5),
        (NON_CRITICAL, 1, 0, 0.449),  # moved by 10.2 % of 0.5
        (NON_CRITICAL, 1, 0, 0.601),  # by 20.2 %
        (NON_CRITICAL, 1, 0, 0.451),  # by 9.8 %
        (CRITICAL, 1, 4, 0.46),  # fifth: still among the first five
        (CRITICAL, 1, 5, 0.1),
        (CRITICAL, 0, 0, np.nan),  # no answer
    ]
    records = np.zeros(len(rows), RECORD)
    for field, column in zip(("outcome", "finite", "rank", "confidence"), zip(*rows, strict=True), strict=True):
        records[field] = column
    found = {name: np.flatnonzero(flags).tolist() for name, flags in sdc_flags(records, np.full(7, 0.5)).items()}
    assert found == {
        "sdc_1": [4, 5, 6],
        "sdc_5": [5, 6],
        "sdc_10": [1, 2, 5, 6],
        "sdc_20": [2, 5, 6],
        "non_finite": [6],
    }


def test_accuracy_by_hand() -> None:
    # golden right; broken by another class; broken without an answer; golden wrong and mended; wrong and wrong again
    records = np.zeros(5, RECORD)
    records["outcome"] = [NON_CRITICAL, CRITICAL, CRITICAL, CRITICAL, CRITICAL]
    records["finite"] = [1, 1, 0, 1, 1]
    records["top1"] = [3, 4, 3, 3, 5]
    right = np.array([True, True, True, False, False])
    broke, mended = accuracy_flags(records, right, np.full(5, 3))
    assert broke.tolist() == [False, True, True, False, False]
    assert mended.tolist() == [False, False, False, True, False]
