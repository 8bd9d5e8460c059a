"""The permutation that studies draw from: every value once, fair in every prefix, and the same for ever."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from onnxfi.study.sampling import VERSION, Permutation, _hash

STEADY = settings(derandomize=True, deadline=None)
LARGEST = 2**62
UNFAIR = 1e-4
"""Seeds are fixed: a fair permutation has one chance in 10,000 of a p-value below, once, when the seed is chosen."""


def whole(size: int, seed: int = 0, stream: int = 0) -> list[int]:
    return [int(value) for value in Permutation(size, seed, stream).at(np.arange(size))]


def by_the_docstring(size: int, seed: int, stream: int, place: int) -> int:
    """The same in whole numbers of Python, written from the class's docstring: nothing of numpy's can change it."""
    a = math.isqrt(size - 1) + 1
    b = -(-size // a)
    name = f"onnxfi permutation 1 size {size} seed {seed} stream {stream}"
    digest = hashlib.shake_256(name.encode()).digest(192)
    keys = [int.from_bytes(digest[at : at + 8], "little") for at in range(0, 192, 8)]
    value = place
    while True:
        left, right = divmod(value, b)
        for even, odd in zip(keys[::2], keys[1::2], strict=True):
            left = (left + split_mix(right ^ even) % a) % a
            right = (right + split_mix(left ^ odd) % b) % b
        value = left * b + right
        if value < size:
            return value


def split_mix(word: int) -> int:
    ones = 2**64 - 1
    word = (word + 0x9E3779B97F4A7C15) & ones
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & ones
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & ones
    return word ^ (word >> 31)


def test_every_small_size_is_permuted() -> None:
    for size in [*range(1, 130), 1000, 1023, 1024, 1025, 4095, 4096, 4097]:
        assert sorted(whole(size, seed=size)) == list(range(size)), size


@settings(STEADY, max_examples=50)
@given(size=st.integers(1, 5000), seed=st.integers(0, 2**63), stream=st.integers(0, 10**6))
def test_every_size_seed_and_stream_is_permuted(size: int, seed: int, stream: int) -> None:
    assert sorted(whole(size, seed, stream)) == list(range(size))


@pytest.mark.parametrize("size", [2**31 - 1, 2**32 + 1, 10**12, 2**53 + 1, LARGEST - 1, LARGEST])
def test_large_sizes_repeat_nothing_and_stay_inside(size: int) -> None:
    rng = np.random.default_rng(3)
    places = np.unique(np.concatenate([np.arange(3000), rng.integers(0, size, 3000), size - 1 - np.arange(3000)]))
    values = Permutation(size, 5, 1).at(places)
    assert values.dtype == np.uint64
    assert int(values.max()) < size
    assert len(np.unique(values)) == len(places)


@STEADY
@given(
    size=st.one_of(st.integers(1, 50), st.integers(1, LARGEST)),
    seed=st.integers(0, 2**64),
    stream=st.integers(0, 9),
    data=st.data(),
)
def test_it_is_what_its_docstring_says(size: int, seed: int, stream: int, data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(0, size - 1), max_size=4))
    values = Permutation(size, seed, stream).at(np.array(places, np.uint64))
    assert values.tolist() == [by_the_docstring(size, seed, stream, place) for place in places]


def test_the_hash_is_splitmix64() -> None:
    # First output of Vigna's reference splitmix64.c from state 0, and its second, from state 0x9E3779B97F4A7C15.
    words = _hash(np.array([0, 0x9E3779B97F4A7C15], np.uint64))
    assert [hex(int(word)) for word in words] == ["0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4"]


@pytest.mark.parametrize(
    ("size", "seed", "stream", "places", "values"),
    [
        (10, 0, 0, range(10), [3, 7, 2, 6, 8, 9, 4, 0, 5, 1]),
        (1000, 7, 3, range(6), [427, 534, 657, 531, 746, 613]),
        (2**40 + 1, 2026, 11, [0, 1, 2, 2**40], [920364506796, 100677864774, 96798794618, 566052601274]),
        (LARGEST, 1, 0, [0, 1, LARGEST - 1], [2911430551803703118, 11509616458328439, 3846877224904167001]),
    ],
)
def test_version_1_never_changes(size: int, seed: int, stream: int, places: list[int], values: list[int]) -> None:
    """Written down when version 1 was made. Other values are another version: a study of theirs could not go on."""
    assert VERSION == 1
    assert Permutation(size, seed, stream).at(np.array(list(places), np.uint64)).tolist() == values


def test_places_may_be_asked_in_any_order_and_number() -> None:
    permutation = Permutation(777, 4, 2)
    once = permutation.at(np.arange(777))
    order = np.random.default_rng(0).permutation(777)
    assert np.array_equal(permutation.at(order), once[order])
    assert [int(permutation.at(np.array([place], np.int32))[0]) for place in range(20)] == once[:20].tolist()
    assert permutation.at(np.zeros(0, np.int64)).shape == (0,)


def test_seed_stream_and_size_each_give_another_order() -> None:
    orders = [whole(500), whole(500, seed=1), whole(500, stream=1), whole(501)[:500]]
    for one, other in ((0, 1), (0, 2), (0, 3), (1, 2)):
        level = sum(a == b for a, b in zip(orders[one], orders[other], strict=True))
        assert level < 8  # one place in common is expected of two random orders; 8 or more has a chance of 1e-5


@pytest.mark.parametrize("size", [1000, 4097, 10**6, 2**40 + 1, LARGEST])
def test_a_prefix_is_spread_evenly(size: int) -> None:
    """Sixteen equal parts of the range, ten streams: without replacement, so if anything too even, never less."""
    counts = np.zeros(16, np.int64)
    for stream in range(10):
        values = Permutation(size, 12, stream).at(np.arange(min(size // 10, 2000)))
        parts = np.array([int(value) * 16 // size for value in values])
        counts += np.bincount(parts, minlength=16)
    edges = [-(-part * size // 16) for part in range(17)]
    expected = np.diff([edge / size for edge in edges]) * counts.sum()
    assert chisquare(counts, expected).pvalue > UNFAIR


@pytest.mark.parametrize("size", [3, 4])
def test_every_order_is_as_likely(size: int) -> None:
    orders = Counter(tuple(whole(size, seed)) for seed in range(720))
    counts = [orders[order] for order in permutations(range(size))]
    assert sum(counts) == 720
    assert chisquare(counts).pvalue > UNFAIR


def test_streams_of_one_seed_do_not_know_each_other() -> None:
    firsts = np.array([whole(10, seed=7, stream=stream)[0] for stream in range(1000)])
    pairs = np.bincount(firsts[:-1] * 10 + firsts[1:], minlength=100)
    assert chisquare(pairs).pvalue > UNFAIR


@pytest.mark.parametrize("size", [0, -1, LARGEST + 1])
def test_a_size_that_cannot_be(size: int) -> None:
    with pytest.raises(ValueError, match=rf"a permutation of {size} values: 1 to 2\*\*62"):
        Permutation(size, 0, 0)


def test_a_place_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="place 10 of a permutation of 10 values does not exist"):
        Permutation(10, 0, 0).at(np.array([3, 10]))
    with pytest.raises(ValueError, match="does not exist"):
        Permutation(10, 0, 0).at(np.array([-1]))
