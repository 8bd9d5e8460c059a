"""Changes of words, and faults of several sites."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxfi.errors import FaultError
from onnxfi.faults.bits import Word
from onnxfi.faults.fault import ONES, Change, Fault, Site

STEADY = settings(derandomize=True, deadline=None)

WIDTHS = (8, 16, 32, 64)


def words(width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, (1 << width) - 1, 20, np.dtype(f"uint{width}"), endpoint=True)


@pytest.mark.parametrize("width", WIDTHS)
@STEADY
@given(data=st.data())
def test_every_change_is_what_its_name_says(width: int, data: st.DataObject) -> None:
    bit = data.draw(st.integers(0, width - 1))
    old, one = words(width), np.dtype(f"uint{width}").type(1 << bit)
    kept = old.copy()
    assert np.array_equal(Change.flip(bit).apply(old), old ^ one)
    assert np.array_equal(Change.stuck_at_1(bit).apply(old), old | one)
    assert np.array_equal(Change.stuck_at_0(bit).apply(old), old & ~one)
    assert np.array_equal(Change.mask(1 << bit).apply(old), old ^ one)
    assert np.array_equal(old, kept), "golden words are read only"


@pytest.mark.parametrize("width", WIDTHS)
@STEADY
@given(keep=st.integers(0, ONES), toggle=st.integers(0, ONES))
def test_the_law_of_a_change(width: int, keep: int, toggle: int) -> None:
    """new = (old & keep) ^ toggle, in whole numbers of Python; `keep` has ones, or only zeros, above the word."""
    ones = (1 << width) - 1
    toggle &= ones
    for change in (Change(keep | (ONES ^ ones), toggle), Change(keep & ones, toggle)):
        old = words(width)
        assert change.apply(old).tolist() == [(word & keep & ones) ^ toggle for word in old.tolist()]


def test_flips_compose_and_stuck_bits_stay() -> None:
    old = words(32)
    assert np.array_equal(Change.flip(3).apply(Change.flip(30).apply(old)), Change.flip(3, 30).apply(old))
    for stuck in (Change.stuck_at_0(7), Change.stuck_at_1(7)):
        once = stuck.apply(old)
        assert np.array_equal(stuck.apply(once), once)
        assert np.array_equal(stuck.apply(Change.flip(7).apply(old)), once), "whatever was stored there"
    nothing = Change.mask(0)
    assert nothing == Change.flip()
    assert np.array_equal(nothing.apply(old), old)


@pytest.mark.parametrize("width", WIDTHS)
def test_several_bits(width: int) -> None:
    old = words(width)
    both = Change.flip(width - 1, 0)
    assert both == Change.mask((1 << (width - 1)) | 1)
    assert np.array_equal(both.apply(both.apply(old)), old)
    assert both.apply(old).dtype == old.dtype


def test_a_value_replaces_the_whole_word() -> None:
    half = Change.value(0.5, Word("float32"))
    assert Word("float32").values(half.apply(words(32))).tolist() == [0.5] * 20
    assert Word("int8").values(Change.value(-3, Word("int8")).apply(words(8))).tolist() == [-3] * 20


@pytest.mark.parametrize(
    "change", [Change.flip(8), Change.stuck_at_0(9), Change.stuck_at_1(12), Change.mask(0x100), Change.flip(0, 40)]
)
def test_a_bit_that_the_word_lacks_is_refused(change: Change) -> None:
    with pytest.raises(FaultError, match="does not fit words of uint8"):
        change.apply(words(8))
    assert change.apply(words(64)).shape == (20,)


def test_impossible_changes() -> None:
    for bit in (-1, 64):
        with pytest.raises(FaultError, match=f"bit {bit} does not exist"):
            Change.flip(bit)
    with pytest.raises(FaultError, match="64 bits"):
        Change.mask(ONES + 1)


def test_a_fault_holds_each_site_once() -> None:
    first, second = Site("w", 3), Site("w", 4)
    fault = Fault(((first, Change.flip(30)), (second, Change.stuck_at_0(1))))
    assert [site for site, _ in fault] == [first, second]
    with pytest.raises(FaultError, match=r"w\[3\] twice"):
        Fault(((first, Change.flip(30)), (first, Change.flip(2))))
    with pytest.raises(FaultError, match="at least one"):
        Fault(())
    with pytest.raises(FaultError, match="negative"):
        Site("w", -1)
