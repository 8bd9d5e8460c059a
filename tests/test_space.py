"""Fault ids are arithmetic: every fault has one, and the strata share all of them out."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from onnxfi.errors import FaultError
from onnxfi.faults.bits import Word
from onnxfi.faults.fault import Change
from onnxfi.faults.space import FaultModel, FaultSpace, Region, Selection

STEADY = settings(derandomize=True, deadline=None)

ALL = tuple(range(31, -1, -1))
REGIONS = (
    Region("weights", "weight", 0, "a", 50, "float32", ALL),
    Region("weights", "bias", 0, "b", 3, "float32", ALL),
    Region("weights", "weight", 1, "c", 7, "int8", (7, 3, 0)),
    Region("activations", "mac", 1, "d", 5, "float32", (30, 1), operands=9),
)
SPACE = FaultSpace(REGIONS)
SIZE = (50 + 3) * 32 + 7 * 3 + 5 * 9 * 2


def top(word: Word) -> tuple[int, ...]:
    return (word.width - 2,)


def test_ids_run_region_by_region_site_by_site_from_the_high_bit_down() -> None:
    assert SPACE.size == SIZE
    region, site, bit = SPACE.locate(np.arange(SIZE))
    listed = [(r, s, b) for r, entry in enumerate(REGIONS) for s in range(entry.sites) for b in entry.bits]
    assert list(zip(region.tolist(), site.tolist(), bit.tolist(), strict=True)) == listed
    assert np.array_equal(SPACE.ids(region, site, bit), np.arange(SIZE))


@STEADY
@given(st.lists(st.integers(0, SIZE - 1), max_size=20))
def test_ids_and_places_are_inverse(ids: list[int]) -> None:
    assert SPACE.ids(*SPACE.locate(np.array(ids, np.uint64))).tolist() == ids


def test_ids_beyond_32_bits() -> None:
    wide = FaultSpace([Region("activations", "mac", 0, "x", 2**40, "float32", ALL, operands=2**12), *REGIONS])
    last = np.array([wide.size - 1, 2**57 - 1])
    assert wide.size == 2**57 + SIZE
    region, site, bit = wide.locate(last)
    assert (region.tolist(), site.tolist(), bit.tolist()) == ([4, 0], [44, 2**52 - 1], [1, 0])
    assert wide.ids(region, site, bit).tolist() == last.tolist()
    with pytest.raises(FaultError, match=r"2\*\*62"):
        FaultSpace([Region("weights", "weight", 0, "x", 2**58, "float32", ALL)])


@pytest.mark.parametrize(
    ("model", "change"),
    [("bit-flip", Change.flip), ("stuck-at-0", Change.stuck_at_0), ("stuck-at-1", Change.stuck_at_1)],
)
def test_trials_carry_the_change(model: FaultModel, change: Any) -> None:
    space = FaultSpace(REGIONS, model)
    ids = np.array([0, 33, 53 * 32, SIZE - 1], np.uint64)
    trials = space.trials(ids, np.array([4, 5, 6, 7]))
    _, _, bits = space.locate(ids)
    assert trials["fault"].tolist() == ids.tolist()
    assert trials["image"].tolist() == [4, 5, 6, 7]
    assert trials["region"].tolist() == [0, 0, 2, 3]
    assert trials["site"].tolist() == [0, 1, 0, 44]
    assert [Change(int(t["keep"]), int(t["toggle"])) for t in trials] == [change(int(bit)) for bit in bits]


@pytest.mark.parametrize("split", [False, True])
def test_the_strata_share_out_all_faults(split: bool) -> None:
    rng = np.random.default_rng(1)
    flags = {number: rng.random(region.sites) < 0.4 for number, region in enumerate(REGIONS)} if split else None
    strata = SPACE.strata(flags, top)
    ids = np.concatenate([stratum.faults(np.arange(stratum.population)) for stratum in strata])
    assert np.array_equal(np.sort(ids), np.arange(SIZE))
    for stratum in strata:
        region, site, bit = SPACE.locate(stratum.faults(np.arange(stratum.population)))
        assert set(bit.tolist()) <= set(stratum.bits)
        for r in set(region.tolist()):
            entry = REGIONS[r]
            assert (entry.target, entry.layer, entry.dtype) == (stratum.target, stratum.layer, stratum.dtype)
        if stratum.feature:
            assert flags is not None
            assert {bool(flags[r][s]) for r, s in zip(region, site, strict=True)} == {stratum.feature == "1"}


def test_strata_join_the_regions_of_a_layer_and_keep_dtypes_apart() -> None:
    strata = SPACE.strata()
    told = [(s.target, s.layer, s.dtype, s.bits, s.population) for s in strata]
    assert told[:2] == [("weights", 0, "float32", (31,), 53), ("weights", 0, "float32", (30,), 53)]
    assert told[9] == ("weights", 0, "float32", tuple(range(22, -1, -1)), 53 * 23)
    assert told[10:] == [
        ("weights", 1, "int8", (7,), 7),
        ("weights", 1, "int8", (3, 0), 14),
        ("activations", 1, "float32", (30,), 45),
        ("activations", 1, "float32", (1,), 45),
    ]


def test_a_split_is_of_the_bits_asked_for_and_of_its_regions_only() -> None:
    positive = np.arange(50) % 5 == 0
    strata = [s for s in SPACE.strata({0: positive}, top) if s.layer == 0 and 30 in s.bits]
    assert [(s.feature, s.population) for s in strata] == [("0", 40), ("1", 10), ("", 3)]
    assert len({s.kin for s in strata}) == 3
    with pytest.raises(FaultError, match=r"shape \(49,\), not \(50,\)"):
        SPACE.strata({0: positive[1:]}, top)


def test_a_half_without_sites_is_no_stratum() -> None:
    strata = [s for s in SPACE.strata({0: np.ones(50, bool)}, top) if s.layer == 0 and 30 in s.bits]
    assert [(s.feature, s.population) for s in strata] == [("1", 50), ("", 3)]


@STEADY
@given(st.lists(st.booleans(), min_size=1, max_size=3000))
def test_a_selection_finds_its_members_in_order(flags: list[bool]) -> None:
    chosen = np.flatnonzero(flags)
    selection = Selection(np.array(flags))
    assert len(selection) == len(chosen)
    assert np.array_equal(selection.at(np.arange(len(chosen))), chosen)
    assert np.array_equal(selection.at(np.arange(len(chosen))[::-1]), chosen[::-1])


def test_a_split_space_travels_small() -> None:
    elements = 1_000_000
    space = FaultSpace([Region("weights", "weight", 0, "w", elements, "float32", ALL)])
    flags: NDArray[np.bool_] = np.random.default_rng(0).random(elements) < 0.5
    strata = space.strata({0: flags}, top)
    sent = pickle.dumps(strata)
    assert len(sent) < elements / 3  # a bit a site for each half, and an index
    again = pickle.loads(sent)  # noqa: S301
    assert np.array_equal(again[2].faults(np.arange(100)), strata[2].faults(np.arange(100)))


def test_refusals() -> None:
    with pytest.raises(FaultError, match="no region"):
        FaultSpace([])
    with pytest.raises(FaultError, match="no site"):
        Region("weights", "weight", 0, "w", 0, "float32", ALL)
    with pytest.raises(FaultError, match="high to low"):
        Region("weights", "weight", 0, "w", 1, "float32", (1, 2))
    with pytest.raises(FaultError, match="outside of the"):
        SPACE.locate(np.array([SIZE]))
    with pytest.raises(FaultError, match="out of range"):
        SPACE.strata()[0].faults(np.array([53]))
    one = np.array([1])
    with pytest.raises(FaultError, match="region outside of the 4"):
        SPACE.ids(one * 4, one, one)
    with pytest.raises(FaultError, match="a site that its tensor does not have"):
        SPACE.ids(one * 0, one * 50, one)
    with pytest.raises(FaultError, match="a bit that this study leaves out"):
        SPACE.ids(one * 2, one, one)
