"""Fault lists of the dnn-benchmarks campaigns: what is read, what is refused, and which fault each row is."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from onnxfi.errors import FaultError
from onnxfi.faults.forms import Format, LineEnds
from onnxfi.faults.layout import Layout
from onnxfi.faults.listing import Counts, Entry, FaultList, Place, Scores, fault_ids, read_list
from onnxfi.faults.space import FaultSpace, Region
from onnxfi.faults.writing import list_text, own_format, write_list

FOUR = "Injection,Layer,TensorIndex,Bit"
EIGHT = FOUR + ",n_injections,masked,non_critical,critical"
BITS = tuple(range(31, -1, -1))

# Two layers: a convolution (2, 3, 2, 2) and a dense layer (4, 5), as ONNX stores them.
SPACE = FaultSpace(
    [
        Region("weights", "weight", 0, "conv1.weight", 24, "float32", BITS),
        Region("weights", "weight", 1, "linear.weight", 20, "float32", (31, 30)),
    ]
)
PLACES = {"conv1": Place(0, Layout.plain((2, 3, 2, 2))), "linear": Place(1, Layout.plain((4, 5)))}


def written(folder: Path, text: str) -> Path:
    path = folder / "list.csv"
    path.write_bytes(text.encode())
    return path


def refusal(folder: Path, text: str) -> str:
    """The one sentence, less the file's name, that the text is refused with."""
    path = written(folder, text)
    with pytest.raises(FaultError) as caught:
        read_list(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert message.endswith(".") and "\n" not in message
    return message.removeprefix(str(path))


def listed(*entries: Entry) -> FaultList:
    return FaultList("list.csv", entries)


# The rows are those of FORMATS.md 1.1: PyTorch and Keras, with and without results.
def test_four_columns(tmp_path: Path) -> None:
    found = read_list(written(tmp_path, f'{FOUR}\n0,conv2d,"(2, 1, 0, 3)",15\n'))
    assert found.entries == (Entry(0, "conv2d", (2, 1, 0, 3), 15),)
    assert found.source == str(tmp_path / "list.csv")


def test_eight_columns(tmp_path: Path) -> None:
    row = '14,layers.0.conv2,"(24, 0, 2, 2)",14,10000,1092,8908,0'
    (entry,) = read_list(written(tmp_path, f"{EIGHT}\n{row}\n")).entries
    assert entry == Entry(14, "layers.0.conv2", (24, 0, 2, 2), 14, Counts(10000, 1092, 8908, 0))


def test_a_row_may_claim_more_images_than_it_counts(tmp_path: Path) -> None:
    # DenseNet121 on GTSRB says 12630 in all rows and counts 3072 (FORMATS.md 1.2).
    (entry,) = read_list(written(tmp_path, f'{EIGHT}\n0,conv,"(0, 0)",1,12630,3000,70,2\n')).entries
    assert entry.counts is not None
    assert (entry.counts.injections, entry.counts.images) == (12630, 3072)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_line_ends(tmp_path: Path, end: str, last: bool) -> None:
    lines = [FOUR, '0,conv1,"(3, 0, 2, 1)",15', '1,linear,"(7, 63)",30']
    found = read_list(written(tmp_path, end.join(lines) + end * last))
    assert [e.index for e in found.entries] == [(3, 0, 2, 1), (7, 63)]


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ('"(3,0,2,1)"', (3, 0, 2, 1)),  # fault_writer.py writes no spaces (FORMATS.md 1.1)
        ('" ( 3 , 0 ,2, 1 ) "', (3, 0, 2, 1)),
        ('"(4, 5, 6)"', (4, 5, 6)),
        ('"(4,)"', (4,)),
        ("(4)", (4,)),
    ],
)
def test_tuples(tmp_path: Path, text: str, index: tuple[int, ...]) -> None:
    assert read_list(written(tmp_path, f"{FOUR}\n0,a,{text},0\n")).entries[0].index == index


def test_quoted_names_spaces_blank_lines_and_a_byte_order_mark(tmp_path: Path) -> None:
    text = f'\ufeff{FOUR}\n\n 7 ,"a,""b""","(1, 2)", 31 \n\n'
    assert read_list(written(tmp_path, text)).entries == (Entry(7, 'a,"b"', (1, 2), 31),)


def test_numbers_may_have_gaps_and_any_order(tmp_path: Path) -> None:
    found = read_list(written(tmp_path, f'{FOUR}\n9,a,"(1,)",0\n2,a,"(1,)",1\n'))
    assert [e.injection for e in found.entries] == [9, 2]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", 1, "a fault list begins with Injection,Layer,TensorIndex,Bit"),
        ('0,conv1,"(1, 2)",3\n', 1, "the header is '0,conv1,(1, 2),3'"),
        (f"{FOUR},critical\n", 1, "with results followed by n_injections,masked,non_critical,critical"),
        (f'{FOUR}\n0,a,"(1, 2)",3,4\n', 2, "5 fields stand under the 4 columns"),
        (f"{FOUR}\n0,a,(1, 2),3\n", 2, "5 fields stand under the 4 columns"),
        (f'{EIGHT}\n0,a,"(1, 2)",3\n', 2, "4 fields stand under the 8 columns"),
        (f"{FOUR}\n0,a,12,3\n", 2, "TensorIndex is '12'; it must be a tuple"),
        (f'{FOUR}\n0,a,"()",3\n', 2, "it must be a tuple"),
        (f'{FOUR}\n0,a,"(1, x)",3\n', 2, "it must be a tuple"),
        (f'{FOUR}\n0,a,"(1, 2.0)",3\n', 2, "it must be a tuple"),
        (f'{FOUR}\n0,a,"(1, -2)",3\n', 2, "no index is negative"),
        (f'{FOUR}\n0,a,"(1, {"9" * 5000})",3\n', 2, "it must be a tuple"),
        (f'{FOUR}\n0,a,"(1, 2)",3\n1,a,"(1, 2)",32\n', 3, "Bit is 32; the bits of a float32 are 0 to 31"),
        (f'{FOUR}\n0,a,"(1, 2)",-1\n', 2, "Bit is '-1'; it must be a whole number"),
        (f'{FOUR}\n0,a,"(1, 2)",\n', 2, "Bit is ''"),
        (f'{FOUR}\n-1,a,"(1, 2)",3\n', 2, "Injection is '-1'"),
        (f'{FOUR}\n0,,"(1, 2)",3\n', 2, "Layer is empty"),
        (f'{FOUR}\n5,a,"(1, 2)",3\n5,a,"(1, 2)",4\n', 3, "Injection 5 is there a second time"),
        (f'{EIGHT}\n0,a,"(1, 2)",3,10000,1.5,2,3\n', 2, "masked is '1.5'"),
        (f'{FOUR}\n0,a,"(1, 2)",3\n1,a,"(1, 2', 3, "unexpected end of data"),
    ],
)
def test_a_refusal_names_the_line_and_what_belongs_there(tmp_path: Path, text: str, line: int, says: str) -> None:
    message = refusal(tmp_path, text)
    assert message.startswith(f", line {line}: ")
    assert says in message


def test_a_file_that_is_no_list(tmp_path: Path) -> None:
    assert refusal(tmp_path, f"{FOUR}\n") == ": the list holds no fault, only a header."
    path = tmp_path / "list.csv"
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(FaultError, match="no UTF-8 text"):
        read_list(path)
    for missing in (tmp_path / "nothing.csv", tmp_path):
        with pytest.raises(FaultError, match="cannot be read"):
            read_list(missing)


REPORT = (
    "inj_id,target_layer,layer_weigths,bit_pos,n_injections,top_1_correct,top_5_correct,top_1_robust,top_5_robust,"
    "masked,non_critical,critical"
)


# keras_weight_injector (D4De @ f63dfc1): 12 columns, sic; the GOLDEN row is one field short; lines end in CRLF.
def test_a_report_is_read_and_written_as_the_tool_writes_it(tmp_path: Path) -> None:
    rows = [
        "GOLDEN,,,,100,91,99,,,,",
        '0,conv2d,"(2, 1, 0, 3)",15,100,91,99,100,100,14,86,0',
        '1,dense,"(4, 3)",30,100,12,60,13,61,0,13,87',
        '2,dense,"(4, 4)",0,100,91,99,99,100,100,-1,1',
    ]
    text = "\r\n".join([REPORT, *rows, ""])
    found = read_list(written(tmp_path, text))
    assert found.golden == (100, 91, 99)
    assert found.entries[1] == Entry(1, "dense", (4, 3), 30, Counts(100, 0, 13, 87, Scores(12, 60, 13, 61)))
    assert found.entries[2].counts == Counts(100, 100, -1, 1, Scores(91, 99, 99, 100))
    assert own_format(found) == "keras-report"
    assert list_text(found, "keras-report", "crlf") == text
    eight = list_text(found, "results").splitlines()
    assert eight[:2] == [EIGHT, '0,conv2d,"(2, 1, 0, 3)",15,100,14,86,0']


def test_a_report_s_header_over_rows_without_results(tmp_path: Path) -> None:
    """What fault_writer.py of the same repository writes: eleven columns' names, four fields, no spaces."""
    found = read_list(written(tmp_path, REPORT.removesuffix(",critical") + '\n0,dense,"(4,3)",30\n'))
    assert found.entries == (Entry(0, "dense", (4, 3), 30),)
    assert own_format(found) == "list"
    with pytest.raises(FaultError, match="has no results to write; give --format list"):
        list_text(found, "results")
    with pytest.raises(FaultError, match="needs images with labels"):
        list_text(found, "keras-report")


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("GOLDEN,,,,100", "5 fields stand in the row GOLDEN"),
        ('0,dense,"(4, 3)",30,100', "5 fields stand under the 12 columns"),
        ('0,dense,"(4, 3)",30,100,1,1,1,1,-1,1,1', "masked is '-1'"),
    ],
)
def test_a_torn_report_is_refused(tmp_path: Path, row: str, says: str) -> None:
    assert says in refusal(tmp_path, f"{REPORT}\n{row}\n")


@pytest.mark.parametrize("form", ["list", "results"])
@pytest.mark.parametrize("ends", ["lf", "crlf"])
def test_what_is_written_reads_back(tmp_path: Path, form: Format, ends: LineEnds) -> None:
    rows = listed(
        Entry(3, "a, b", (0, 1), 31, Counts(9, 2, 3, 4)), Entry(7, 'c"d', (5, 6, 7, 8), 0, Counts(9, 9, 0, 0))
    )
    write_list(rows, tmp_path / "again.csv", form, ends)
    text = (tmp_path / "again.csv").read_bytes()
    assert text.count(b"\r\n") == (3 if ends == "crlf" else 0) and text.count(b"\n") == 3
    for own, again in zip(rows.entries, read_list(tmp_path / "again.csv").entries, strict=True):
        assert again == (own if form == "results" else replace(own, counts=None))


def test_ids_lead_back_to_the_rows() -> None:
    rows = listed(
        Entry(0, "linear", (3, 4), 30), Entry(1, "conv1", (1, 2, 1, 0), 15), Entry(2, "conv1", (0, 0, 0, 0), 31)
    )
    region, site, bit = SPACE.locate(fault_ids(rows, PLACES, SPACE))
    assert region.tolist() == [1, 0, 0]
    # By hand, last index fastest: 3*5 + 4; ((1*3 + 2)*2 + 1)*2 + 0; 0.
    assert site.tolist() == [19, 22, 0]
    assert bit.tolist() == [30, 15, 31]


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (Entry(3, "fc", (0, 0), 30), "names a layer that the network does not have; it has 'conv1', 'linear'."),
        (Entry(3, "linear", (4, 0), 30), "is outside of that layer's weight, which has shape (4, 5)."),
        (Entry(3, "linear", (0, 5), 30), "is outside"),
        (Entry(3, "linear", (0, 0, 0, 0), 30), "is outside"),
        (Entry(3, "linear", (0, 10**17), 30), "is outside"),
        (Entry(3, "linear", (0, 0), 29), "has a bit that this fault space leaves out."),
    ],
)
def test_a_row_without_a_place_is_refused(entry: Entry, says: str) -> None:
    with pytest.raises(FaultError) as caught:
        fault_ids(listed(Entry(0, "linear", (0, 0), 31), entry), PLACES, SPACE)
    assert str(caught.value).startswith(f"list.csv: injection 3 ({entry.layer}, ")
    assert says in str(caught.value)


def test_many_layers_are_not_all_named() -> None:
    places = {f"layer{i}": PLACES["linear"] for i in range(7)}
    with pytest.raises(FaultError, match="'layer4' and 2 more"):
        fault_ids(listed(Entry(0, "fc", (0, 0), 30)), places, SPACE)


@pytest.mark.shared
def test_the_published_list_is_read_whole(shared_data: Path) -> None:
    found = read_list(shared_data / "fault_lists/ResNet20_FL.csv").entries
    counts = np.array([(c.injections, c.masked, c.non_critical, c.critical) for e in found if (c := e.counts)])
    # data/README.md and FORMATS.md 1.6, first row of the table.
    assert len(found) == len(counts) == 16_627
    assert len({e.layer for e in found}) == 20
    assert [e.injection for e in found] == list(range(16_627))
    assert (counts[:, 0] == 10_000).all() and (counts[:, 1:].sum(axis=1) == 10_000).all()
    assert counts[:, 1:].mean(axis=0) / 100 == pytest.approx([41.65, 57.07, 1.2758], abs=0.005)
    assert (counts[:, 3] > 0).sum() == 5_838
    # published_lists.csv: SHA-256 of the rows as published.
    lines = "".join(f'{e.injection},{e.layer},"{e.index}",{e.bit}\n' for e in found)
    published = (shared_data / "fault_lists/published_lists.csv").read_text().splitlines()
    row = next(line.split(",") for line in published if line.startswith("CIFAR10,ResNet20,"))
    assert hashlib.sha256(lines.encode()).hexdigest() == row[6]


@pytest.mark.shared
def test_the_keras_twin_has_the_same_faults_in_its_own_coordinates(shared_data: Path) -> None:
    pytorch = read_list(shared_data / "fault_lists/ResNet20_FL.csv").entries
    keras = read_list(shared_data / "fault_lists/ResNet20_TF_FL.csv").entries
    assert keras[0] == Entry(0, "conv2d", (2, 1, 0, 3), 15)
    # FORMATS.md 1.5: (o, i, h, w) is (h, w, i, o), and (o, i) is (i, o).
    order = {4: (2, 3, 1, 0), 2: (1, 0)}
    assert [tuple(e.index[a] for a in order[len(e.index)]) for e in pytorch] == [e.index for e in keras]
    assert [e.bit for e in pytorch] == [e.bit for e in keras]
