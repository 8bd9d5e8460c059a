"""The codec of stored words, and which bits are counted together."""

from __future__ import annotations

import csv
from collections import defaultdict
from itertools import chain
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxfi.errors import FaultError
from onnxfi.faults.bits import Word, bit_classes, bit_set

STEADY = settings(derandomize=True, deadline=None)

FLOATS = ("float64", "float32", "float16", "bfloat16")
INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
DTYPES = FLOATS + INTEGERS


@pytest.mark.parametrize("dtype", DTYPES)
@STEADY
@given(seed=st.integers(0, 2**32 - 1))
def test_words_and_values_are_one_memory(dtype: str, seed: int) -> None:
    word = Word(dtype)
    words = np.random.default_rng(seed).integers(0, word.mask, (3, 5), word.unsigned, endpoint=True)
    values = word.values(words)
    assert values.dtype.name == dtype
    assert values.shape == words.shape
    assert np.shares_memory(values, words)
    assert np.array_equal(word.words(values), words)


@pytest.mark.parametrize(
    ("dtype", "patterns"),
    [
        # Signalling and quiet NaN with payloads, both infinities, the smallest denormal, minus zero: IEEE 754.
        ("float64", [0x7FF0000000000001, 0xFFF8000000000123, 0x7FF0000000000000, 0xFFF0000000000000, 1, 1 << 63]),
        ("float32", [0x7F800001, 0xFFC01234, 0x7F800000, 0xFF800000, 1, 0x80000000]),
        ("float16", [0x7C01, 0xFE12, 0x7C00, 0xFC00, 1, 0x8000]),
        ("bfloat16", [0x7F81, 0xFFC5, 0x7F80, 0xFF80, 1, 0x8000]),
    ],
)
def test_nan_payloads_and_denormals_pass_untouched(dtype: str, patterns: list[int]) -> None:
    word = Word(dtype)
    words = np.array(patterns, word.unsigned)
    values = word.values(words)
    with np.errstate(invalid="ignore"):  # a signalling NaN
        assert np.isnan(values[:2]).all()
    assert np.isinf(values[2:4]).all()
    assert word.words(values.copy()).tolist() == patterns


@pytest.mark.parametrize("dtype", DTYPES)
def test_bit_0_is_the_least_significant(dtype: str) -> None:
    word = Word(dtype)
    one = word.words(np.array([1], np.dtype(dtype)))
    # Exponent of 1.0 is the bias, so its lowest exponent bit is set and its mantissa is not (IEEE 754).
    lowest = 0 if word.mantissa is None else word.mantissa
    assert bit_set(one, lowest).all()
    assert not any(bit_set(one, bit).any() for bit in range(lowest))


@pytest.mark.parametrize(
    ("dtype", "number", "bits"),
    [
        ("float32", 1.0, 0x3F800000),
        ("float32", -0.0, 0x80000000),
        ("float32", float("inf"), 0x7F800000),
        ("float32", 1e39, 0x7F800000),
        ("float32", -(10**400), 0xFF800000),
        ("float16", 0.1, 0x2E66),  # 0.0999755859375, the nearest of binary16
        ("bfloat16", 1.00390625, 0x3F80),  # halfway between 1 and 1 + 2^-7: to even
        ("bfloat16", 1.00390625 + 2**-40, 0x3F81),  # a little more than halfway, which float32 could not tell
        ("bfloat16", 1.01171875 - 2**-40, 0x3F81),  # a little less than 1 + 2^-7 + 2^-8
        ("bfloat16", -1.00390625 - 2**-40, 0xBF81),
        ("bfloat16", 1e39, 0x7F80),
        ("bfloat16", float("nan"), 0x7FC0),
        ("float16", 1 + 2**-11 + 2**-40, 0x3C01),
        ("float64", 1.0, 0x3FF0000000000000),
        ("int8", -1, 0xFF),
        ("uint8", 255, 0xFF),
        ("int32", -(2**31), 0x80000000),
    ],
)
def test_encode(dtype: str, number: float, bits: int) -> None:
    assert Word(dtype).encode(number) == bits


@pytest.mark.parametrize(
    ("dtype", "number"),
    [("int8", 128), ("uint8", -1), ("int32", 0.5), ("int16", float("nan")), ("int8", float("-inf"))],
)
def test_encode_refuses_what_an_integer_cannot_hold(dtype: str, number: float) -> None:
    with pytest.raises(FaultError, match=f"not a value of {dtype}"):
        Word(dtype).encode(number)


@pytest.mark.parametrize("dtype", DTYPES)
@STEADY
@given(data=st.data())
def test_encode_gives_back_the_word_of_every_number(dtype: str, data: st.DataObject) -> None:
    """Denormals, infinities and minus zero too; of NaN there are many, and one is chosen."""
    word = Word(dtype)
    bits = data.draw(st.integers(0, word.mask))
    number = word.values(np.array([bits], word.unsigned)).tolist()[0]
    number = int(number) if word.mantissa is None else float(number)
    if number == number:
        assert word.encode(number) == bits
    else:
        assert np.isnan(float(word.values(np.array([word.encode(number)], word.unsigned))[0]))


@STEADY
@given(words=st.lists(st.integers(0, 2**64 - 1), max_size=5), bit=st.integers(0, 63))
def test_where_a_bit_is_set(words: list[int], bit: int) -> None:
    assert bit_set(np.array(words, np.uint64), bit).tolist() == [bool(word >> bit & 1) for word in words]


def test_refusals_name_the_dtype_and_the_bit() -> None:
    with pytest.raises(FaultError, match="complex64"):
        Word("complex64")
    with pytest.raises(FaultError, match="bit 32 does not exist in float32: its bits are 0 to 31"):
        bit_classes(Word("float32"), [32])
    with pytest.raises(FaultError, match="no bit was chosen of float32"):
        bit_classes(Word("float32"), [])
    with pytest.raises(FaultError, match="float32 were asked of an array of float64"):
        Word("float32").words(np.zeros(1))
    with pytest.raises(FaultError, match="uint64"):
        Word("float32").values(np.zeros(1, np.uint64))


@pytest.mark.parametrize("dtype", DTYPES)
def test_classes_hold_every_bit_once_from_high_to_low(dtype: str) -> None:
    word = Word(dtype)
    assert list(chain.from_iterable(bit_classes(word))) == list(range(word.width - 1, -1, -1))


@pytest.mark.parametrize(
    ("dtype", "alone", "pools"),
    [
        ("float32", 9, [23]),
        ("bfloat16", 9, [7]),
        ("float16", 6, [10]),
        ("float64", 12, [52]),
        ("int8", 4, [4]),
        ("uint16", 4, [4, 8]),
        ("int32", 4, [4, 8, 16]),
        ("int64", 4, [4, 8, 16, 32]),
    ],
)
def test_high_bits_stand_alone_and_low_ones_are_pooled(dtype: str, alone: int, pools: list[int]) -> None:
    assert [len(members) for members in bit_classes(Word(dtype))] == [1] * alone + pools


def test_classes_are_restricted_to_the_bits_asked_for() -> None:
    assert bit_classes(Word("float32"), [3, 30, 22, 31, 30]) == ((31,), (30,), (22, 3))
    assert bit_classes(Word("int8"), [0]) == ((0,),)


@pytest.mark.shared
def test_no_mantissa_bit_deserves_a_stratum_of_its_own(shared_data: Path) -> None:
    """Published results of ResNet-20 (dnn-benchmarks): even the top bit of the mantissa is critical in 0.02 % of the
    trials. Its share of the variance of the mean over all bits is a thousandth of bit 30's."""
    rates: dict[int, list[float]] = defaultdict(list)
    with (shared_data / "fault_lists" / "ResNet20_FL.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            rates[int(row["Bit"])].append(int(row["critical"]) / int(row["n_injections"]))
    mean = {bit: np.mean(values) for bit, values in rates.items()}
    assert mean[22] < 2.5e-4
    assert max(mean[bit] for bit in range(21)) < 1e-4
    assert mean[22] * (1 - mean[22]) < 1e-3 * mean[30] * (1 - mean[30])


def test_bfloat16_is_a_dtype_of_numpy() -> None:
    assert np.dtype("bfloat16") == np.dtype(ml_dtypes.bfloat16)
