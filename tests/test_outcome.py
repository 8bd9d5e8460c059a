"""Golden and faulty logits to one record: every rule of the top-1 criterion, by hand."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from onnxfi.faults.bits import Word
from onnxfi.metrics.outcome import CRITICAL, MASKED, NON_CRITICAL, RECORD, top1

STEADY = settings(derandomize=True, deadline=None)

NAN, INF = np.nan, np.inf
GOLDEN = [1.0, 3.0, 2.0]


def judge(faulty: list[float], golden: list[float] | None = None, dtype: str = "float32") -> np.void:
    before, after = (np.array([row], np.dtype(dtype)) for row in (golden or GOLDEN, faulty))
    record: np.void = top1(before, after)[0]
    return record


@pytest.mark.parametrize(
    ("faulty", "outcome", "finite", "rank", "class_"),
    [
        ([1, 3, 2], MASKED, 1, 0, 1),
        ([1, 3.5, 2], NON_CRITICAL, 1, 0, 1),
        ([1, 3, 4], CRITICAL, 1, 1, 2),
        ([4, 3, 4], CRITICAL, 1, 2, 0),
        ([3, 3, 0], CRITICAL, 1, 1, 0),  # level: the lower index is first
        ([0, 3, 3], NON_CRITICAL, 1, 0, 1),
        ([1, NAN, 2], CRITICAL, 0, 0, 1),  # critical although argmax has not moved
        ([NAN, 3, 2], CRITICAL, 0, 1, 0),
        ([1, INF, 2], CRITICAL, 0, 0, 1),
        ([-INF, 3, 2], CRITICAL, 0, 0, 1),
        ([NAN, NAN, NAN], CRITICAL, 0, 1, 0),
        ([1, NAN, INF], CRITICAL, 0, 0, 1),
        ([1, 3, NAN], CRITICAL, 0, 1, 2),
    ],
)
def test_rules(faulty: list[float], outcome: int, finite: int, rank: int, class_: int) -> None:
    record = judge(faulty)
    assert (record["outcome"], record["finite"], record["rank"], record["top1"]) == (outcome, finite, rank, class_)
    assert np.isnan(record["margin"]) == np.isnan(record["confidence"]) == (not finite)


def test_masked_is_bit_for_bit() -> None:
    assert judge([0.0, 1.0], [-0.0, 1.0])["outcome"] == NON_CRITICAL
    quiet, other = (np.array([[word, 0]], np.uint32).view(np.float32) for word in (0x7FC00000, 0x7FC00001))
    assert top1(quiet, quiet.copy())["outcome"] == MASKED
    assert top1(quiet, other)["outcome"] == CRITICAL


@pytest.mark.parametrize(("dtype", "nan"), [("float16", 0x7E01), ("float32", 0xFFC00007), ("float64", 0x7FF8 << 48)])
def test_a_golden_nan_equals_itself_alone(dtype: str, nan: int) -> None:
    """A model that answers NaN without a fault: nothing changed is masked, and it still has no finite answer."""
    word = Word(dtype)
    golden = word.values(np.array([[nan, 0, 0]], word.unsigned))
    masked = top1(golden, golden.copy())[0]
    assert (masked["outcome"], masked["finite"], masked["rank"]) == (MASKED, 0, 0)
    assert np.isnan(masked["confidence"]) and np.isnan(masked["margin"])
    payload = word.values(np.array([[nan ^ 2, 0, 0]], word.unsigned))
    assert top1(golden, payload)["outcome"] == CRITICAL


def test_a_level_golden_answer_is_its_first() -> None:
    assert judge([5, 5, 1], golden=[2, 2, 1])["outcome"] == NON_CRITICAL
    critical = judge([2, 3, 1], golden=[2, 2, 1])
    assert (critical["outcome"], critical["top1"], critical["rank"]) == (CRITICAL, 1, 1)


def test_distributions_are_told_apart_row_by_row() -> None:
    """The first golden row sums to 1 and has nothing below 0; the second sums to 1, but is no distribution."""
    golden = np.array([[0.25, 0.75], [2.0, -1.0]])
    faulty = np.array([[0.6, 0.4], [0.0, 1.0]])
    assert top1(golden, faulty)["confidence"] == pytest.approx([0.4, 1 / (1 + np.e)])


def test_confidence_and_margin() -> None:
    record = judge([0.0, np.log(3.0), 0.0])
    assert record["confidence"] == pytest.approx(3 / 5)  # e^ln 3 / (1 + 3 + 1)
    assert record["margin"] == pytest.approx(np.log(3.0))
    assert judge([1, 3, 5])["margin"] == -2
    # Where the golden row is a distribution already, so is the faulty one: no second softmax.
    record = judge([0.3, 0.45, 0.25], golden=[0.2, 0.7, 0.1])
    assert record["confidence"] == pytest.approx(0.45)


def test_confidence_of_huge_logits_is_finite() -> None:
    assert judge([0, 3e38, -3e38])["confidence"] == 1
    assert judge([0, -3e38, 3e38])["confidence"] == 0


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "int8", "uint8", "int32", "int64"])
def test_every_dtype(dtype: str) -> None:
    assert ml_dtypes is not None  # gives numpy its bfloat16
    assert judge([1, 3, 2], dtype=dtype)["outcome"] == MASKED
    assert judge([0, 3, 2], dtype=dtype)["outcome"] == NON_CRITICAL
    record = judge([4, 3, 2], dtype=dtype)
    assert (record["outcome"], record["top1"], record["margin"], record["finite"]) == (CRITICAL, 0, -1, 1)


def test_neighbouring_int64_are_told_apart() -> None:
    assert judge([0, 2**60, 2**60 + 1], [0, 2**60 + 1, 2**60], "int64")["outcome"] == CRITICAL


def test_the_golden_class_may_come_from_elsewhere() -> None:
    golden = np.array([GOLDEN], np.float32)
    record = top1(golden, golden + 1, np.array([2], np.int32))[0]
    assert (record["outcome"], record["rank"], record["margin"]) == (CRITICAL, 1, -1)


@STEADY
@given(st.integers(0, 2**32 - 1))
def test_rank_0_is_top_1(seed: int) -> None:
    """With the few values there are many ties, NaN and infinities."""
    rng = np.random.default_rng(seed)
    values = np.array([-INF, 0, 1, 2, INF, NAN], np.float32)
    golden, faulty = values[rng.integers(0, 6, (2, 20, 4))]
    records = top1(golden, faulty)
    first = golden.argmax(axis=1)
    assert np.array_equal(records["rank"] == 0, faulty.argmax(axis=1) == first)
    assert np.array_equal(records["finite"] == 1, np.isfinite(faulty).all(axis=1))
    changed = records["outcome"] != MASKED
    assert (records["outcome"][changed & (records["finite"] == 0)] == CRITICAL).all()


def test_shapes_and_sizes() -> None:
    rng = np.random.default_rng(0)
    logits: NDArray[np.float32] = rng.normal(size=(5, 70_000)).astype(np.float32)
    last = top1(logits, -logits)
    assert last.dtype == RECORD
    assert RECORD.itemsize == 28  # as the journal's format says
    assert (last["rank"] == 65535).all()  # as far as the field goes
    assert not top1(np.zeros((0, 3)), np.zeros((0, 3))).size
    with pytest.raises(ValueError, match="shape"):
        top1(np.zeros((2, 3)), np.zeros((2, 4)))
