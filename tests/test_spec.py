"""Faults in writing: what is read, what is printed, and what is said where something is wrong.

Bit patterns are those of IEEE 754: float32 1.0 is 0x3f800000, float16 1.0 is 0x3c00, bfloat16 1.0 is 0x3f80.
"""

from __future__ import annotations

import json
from pathlib import Path

import ml_dtypes  # noqa: F401  (gives numpy its bfloat16)
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxfi.errors import FaultError
from onnxfi.faults.bits import Word
from onnxfi.faults.fault import ONES, Change, Fault, Site
from onnxfi.faults.spec import Stored, format_change, format_fault, parse_change, parse_fault

TENSORS = {
    "layer1.0.conv1.weight": Stored("float32", (4, 3, 2, 2)),
    "layer1.0.conv2.weight": Stored("float32", (4, 4, 2, 2)),
    "/layer1/conv/Conv_output_0": Stored("float32", (4, 8, 8)),
    "StatefulPartitionedCall/dense:0": Stored("float16", (10,)),
    "a;b[0]": Stored("float32", (2,)),
    "scale": Stored("float32", ()),
    "half": Stored("bfloat16", (2,)),
    "q": Stored("int8", (2, 3)),
    "big": Stored("uint64", (2,)),
    "wide": Stored("float64", (2,)),
}
W = "layer1.0.conv1.weight"


def bits(number: int) -> int:
    """`keep` that holds everything but these bits."""
    return ONES ^ number


@pytest.mark.parametrize(
    ("text", "tensor", "index", "change"),
    [
        # flat index by hand: ((3*3 + 0)*2 + 1)*2 + 1 = 39
        (f"{W}[3,0,1,1]:flip@30", W, 39, Change(ONES, 1 << 30)),
        (f"  {W}[0, 0,0 ,0]:stuck0@31 ", W, 0, Change(bits(1 << 31), 0)),
        (f"{W}[0,0,0,1]:stuck1@0", W, 1, Change(bits(1), 1)),
        ("/layer1/conv/Conv_output_0[3,7,7]:mask@0x4400", "/layer1/conv/Conv_output_0", 255, Change(ONES, 0x4400)),
        ("StatefulPartitionedCall/dense:0[9]:value@1", "StatefulPartitionedCall/dense:0", 9, Change(0, 0x3C00)),
        ("scale[]:value@-inf", "scale", 0, Change(0, 0xFF800000)),
        ("scale[]:value@-0.0", "scale", 0, Change(0, 0x80000000)),
        ("scale[]:value@1e-45", "scale", 0, Change(0, 1)),  # the smallest denormal
        ("half[1]:value@1.0", "half", 1, Change(0, 0x3F80)),
        ("q[1,2]:value@-128", "q", 5, Change(0, 0x80)),
        ("q[1,2]:mask@0b101", "q", 5, Change(ONES, 5)),
        ("big[0]:value@18446744073709551615", "big", 0, Change(0, ONES)),
        ("wide[0]:flip@63", "wide", 0, Change(ONES, 1 << 63)),
    ],
)  # fmt: skip
def test_one_fault(text: str, tensor: str, index: int, change: Change) -> None:
    assert parse_fault(text, TENSORS) == Fault(((Site(tensor, index), change),))


def test_several_at_once() -> None:
    text = f"{W}[0,0,0,0]:flip@1; q[0,1]:stuck1@7;scale[]:value@2;"
    wanted = (
        (Site(W, 0), Change.flip(1)), (Site("q", 1), Change.stuck_at_1(7)), (Site("scale", 0), Change(0, 0x40000000))
    )  # fmt: skip
    assert parse_fault(text, TENSORS).pairs == wanted
    printed = format_fault(Fault(wanted), TENSORS)
    assert printed == f"{W}[0,0,0,0]:flip@1; q[0,1]:stuck1@7; scale[]:value@2.0"
    assert parse_fault(printed, TENSORS).pairs == wanted


def test_file_for_odd_names(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    path.write_text(json.dumps([{"tensor": "a;b[0]", "index": [1], "change": "flip@0"}]))
    assert parse_fault(f"@{path}", TENSORS).pairs == ((Site("a;b[0]", 1), Change.flip(0)),)


@settings(derandomize=True, deadline=None)
@given(st.sampled_from(sorted(TENSORS)), st.data())
def test_printed_faults_read_back(name: str, data: st.DataObject) -> None:
    """Whatever is printed is read as the same change of the word (value@: the same word, NaN payloads refused)."""
    stored = TENSORS[name]
    word = Word(stored.dtype)
    index = data.draw(st.integers(0, int(np.prod(stored.shape)) - 1))
    bit = data.draw(st.integers(0, word.width - 1))
    number = data.draw(st.integers(0, word.mask))
    kinds = [Change.flip(bit), Change.stuck_at_0(bit), Change.stuck_at_1(bit), Change.mask(number), Change(0, number)]
    change = data.draw(st.sampled_from(kinds))
    fault = Fault(((Site(name, index), change),))
    try:
        text = format_fault(fault, TENSORS)
    except FaultError:
        assert change.keep == 0
        assert np.isnan(word.values(np.array([number], word.unsigned)))[0]
        return
    if name == "a;b[0]":
        return  # printed for people; a file says it for machines
    ((site, back),) = parse_fault(text, TENSORS)
    assert site == Site(name, index)
    assert (back.keep & word.mask, back.toggle) == (change.keep & word.mask, change.toggle)


def test_values_print_as_numbers() -> None:
    assert format_change(Change(0, 0x3F800000), Word("float32")) == "value@1.0"
    assert format_change(Change(0, 0x7FC00000), Word("float32")) == "value@nan"
    assert format_change(Change(0, 0x80), Word("int8")) == "value@-128"
    assert format_change(Change(ONES, 0), Word("int8")) == "mask@0x0"
    with pytest.raises(FaultError, match="no written form"):
        format_change(Change(bits(0b11), 0b10), Word("int8"))
    with pytest.raises(FaultError, match="no written form"):
        format_change(Change.flip(9), Word("int8"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no fault: it is written TENSOR"),
        (f"{W}[0,0,0,0]", "is no fault: it is written TENSOR"),
        (f"{W}:flip@3", "is no fault"),
        (f"{W}[0,0,0,0]:flip@3 junk", "is no fault"),
        (f"{W}[0,0,0,0]:spin@3", "flip@BIT, stuck0@BIT, stuck1@BIT, mask@0xHEX or value@NUMBER"),
        (f"{W}[0,0,0,0]:flip@", "is no change"),
        (f"{W}[0,0,0,0]:flip@x", "'x' is not a whole number"),
        (f"{W}[0,0,0,0]:flip@32", r"layer1.0.conv1.weight\[0,0,0,0\]: .*bits of float32 are 0 to 31"),
        (f"{W}[0,0,0,0]:flip@-1", "not a whole number"),
        ("q[0,0]:stuck0@8", "bits of int8 are 0 to 7"),
        ("q[0,0]:mask@0x100", "a mask of int8 has 8 bits, at most 0xff"),
        (f"{W}[0,0,0]:flip@3", r"has 4 axes, shape \[4,3,2,2\], not 3"),
        (f"{W}[]:flip@3", "not 0"),
        (f"{W}[0,3,0,0]:flip@3", r"index 3 on axis 1 is not within 0 to 2 of shape \[4,3,2,2\]"),
        (f"{W}[0,-1,0,0]:flip@3", "index -1 on axis 1"),
        (f"{W}[0,,0,0]:flip@3", "not a list of whole numbers"),
        ("layer1.0.conv1.wieght[0,0,0,0]:flip@3", "no tensor .* did you mean 'layer1.0.conv1.weight' or"),
        ("zzz[0]:flip@3", "`onnxfi show MODEL` lists"),
        ("q[0,0]:value@128", r"128 is not a value of int8 \(-128 to 127\)"),
        ("q[0,0]:value@1.5", "not a whole number, as values of int8 are"),
        ("q[0,0]:value@inf", "not a whole number"),
        ("StatefulPartitionedCall/dense:0[0]:value@70000", "70000 is beyond the largest float16; write inf"),
        ("wide[0]:value@1e999", "beyond the largest float64"),
        ("scale[]:value@one", "'one' is not a number"),
        ("q[0,0]:flip@1;q[0,0]:flip@2", r"q\[0\] twice"),
    ],
)
def test_what_is_said(text: str, said: str) -> None:
    with pytest.raises(FaultError, match=said):
        parse_fault(text, TENSORS)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[", "is not JSON"),
        ("{}", "holds no list of objects"),
        ("[]", "holds no list of objects"),
        ('[{"tensor": "q", "index": [0, 0]}]', "entry 1 is not of the form"),
        ('[{"tensor": "q", "index": [0, true], "change": "flip@1"}]', "entry 1 is not of the form"),
        ('[{"tensor": "q", "index": [0, 0], "change": "flip@1", "more": 1}]', "entry 1 is not of the form"),
        ('[{"tensor": "q", "index": [0, 0], "change": "flip@9"}]', "bits of int8 are 0 to 7"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_what_is_said_of_a_file(content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text(content)
    with pytest.raises(FaultError, match=said):
        parse_fault(f"@{path}", TENSORS)


def test_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FaultError, match="cannot be read: No such file"):
        parse_fault(f"@{tmp_path / 'none.json'}", TENSORS)
    (tmp_path / "latin.json").write_bytes(b"\xff\xfe")
    with pytest.raises(FaultError, match="is not JSON"):
        parse_fault(f"@{tmp_path / 'latin.json'}", TENSORS)


def test_change_alone() -> None:
    assert parse_change("flip@7", Word("int8")) == Change.flip(7)
    with pytest.raises(FaultError, match="is no change"):
        parse_change("flip 7", Word("int8"))
