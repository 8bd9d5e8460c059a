"""Which layer is which, and which stored word: told by values, whatever the graph and its names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import twins as t

from onnxfi.engine.prepare import look
from onnxfi.graph.network import Network
from onnxfi.parity.arrange import Arrangement, follow, row_arrangements, weight_arrangements
from onnxfi.parity.kernels import kernels
from onnxfi.parity.match import Matching, match
from onnxfi.parity.twins import bring_together
from onnxfi.study.settings import Data

W = t.weights()
STYLES = {
    "other names": t.Style(),
    "matmul": t.Style(dense="matmul"),
    "nhwc": t.Style(nhwc=True),
    "nhwc, matmul": t.Style(nhwc=True, dense="matmul"),
    "kernels behind a transpose": t.Style(behind=True),
    "norm as arithmetic": t.Style(norm="ops"),
    "another order": t.Style(swapped=True),
    "as Keras on PyTorch": t.Style("ops", True, "matmul", True, True),
    "folded": t.Style(norm="folded"),
    "folded, nhwc, matmul": t.Style("folded", True, "matmul"),
}


def _kernels(path: Path) -> list:  # type: ignore[type-arg]
    return kernels(*look(Network.load(path, unshare=True)))


def _matched(folder: Path, a: t.Style, b: t.Style) -> Matching:
    one, other = t.twin(folder / "a.onnx", W, a), t.twin(folder / "b.onnx", W, b)
    return match(_kernels(one), _kernels(other))


def _order(style: t.Style) -> list[str]:
    """The layers as the graph has them."""
    names = list(t.LAYERS)
    if style.swapped:
        names[2:4] = names[3], names[2]
    return names


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
def test_every_layer_finds_its_twin(tmp_path: Path, style: t.Style) -> None:
    found = _matched(tmp_path, t.Style(), style)
    there = _order(style)
    assert [(t.LAYERS[p.a.layer.index], there[p.b.layer.index]) for p in found.pairs] == [(n, n) for n in t.LAYERS]
    assert not found.unmatched
    folded = style.norm == "folded"
    assert [pair.form for pair in found.pairs] == ["folded" if folded else "stored"] * 4 + ["stored"] * 2
    for pair in found.pairs:
        assert pair.rivals == ()
        assert pair.difference is not None and pair.difference < 1e-6
        assert pair.shift is not None and pair.shift < 1e-6
        assert pair.identical == (pair.form == "stored")


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
def test_matching_is_the_same_from_the_other_side(tmp_path: Path, style: t.Style) -> None:
    there, back = _matched(tmp_path, t.Style(), style), _matched(tmp_path, style, t.Style())
    pairs = {(p.a.layer.index, p.b.layer.index, p.form) for p in there.pairs}
    assert pairs == {(p.b.layer.index, p.a.layer.index, p.form) for p in back.pairs}


@pytest.mark.parametrize("name", [name for name, style in STYLES.items() if style.norm != "folded"])
def test_a_site_leads_to_the_same_word(tmp_path: Path, name: str) -> None:
    """Weights are normal numbers, so that no two of a layer are equal: the value says whether the place is right."""
    found = _matched(tmp_path, t.Style(), STYLES[name])
    a, b = Network.load(tmp_path / "a.onnx"), Network.load(tmp_path / "b.onnx")
    for pair in found.pairs:
        assert pair.replayable
        mine, other = a.stored(pair.a.stored.tensor).ravel(), b.stored(pair.b.stored.tensor).ravel()
        site = np.arange(len(mine))
        there = follow(pair.steps, site)
        assert sorted(there.tolist()) == site.tolist()
        assert (other[there].view(np.uint32) == mine.view(np.uint32)).all()


def test_a_folded_side_is_met_by_folding_the_other(tmp_path: Path) -> None:
    one, other = t.twin(tmp_path / "a.onnx", W), t.twin(tmp_path / "b.onnx", W, STYLES["folded, nhwc, matmul"])
    data = Data((t.images(tmp_path / "x.npz", 20),))
    found = bring_together(one, other, data, data, tmp_path / "out", (None, None), 0)
    assert found.path_a != one and found.path_b == other
    assert len(found.folded[0]) == 4 and found.folded[1] == ()
    assert all(pair.replayable for pair in found.matching.pairs)
    assert max(found.apart.values()) < 1e-5 and len(found.apart) == 6
    assert found.clean.agree.all() and found.clean.difference < 1e-4
    swapped = bring_together(other, one, data, data, tmp_path / "out2", (None, None), 0)
    assert swapped.path_a == other and len(swapped.folded[1]) == 4


def test_other_weights_are_no_twins_and_say_so(tmp_path: Path) -> None:
    other = {**W, "left.weight": W["left.weight"] + np.float32(0.05)}
    one, two = t.twin(tmp_path / "a.onnx", W), t.twin(tmp_path / "b.onnx", other)
    a, b = _kernels(one), _kernels(two)
    found = match(a, b)
    assert [pair.form for pair in found.pairs] == ["stored", "stored", "shape", "stored", "stored", "stored"]
    alone = found.pairs[2]
    assert not alone.replayable and alone.why == "the values differ: only shape and place agree"
    missing = match(a, [*b[:2], *b[3:]])
    assert [(row.side, "nearest" in row.why) for row in missing.unmatched] == [("a", True)]


def test_a_shape_that_is_nowhere_is_said_to_be(tmp_path: Path) -> None:
    a = _kernels(t.twin(tmp_path / "a.onnx", W))
    (row,) = match(a, a[:-1]).unmatched
    assert row.layer == a[-1].layer.id and "no layer of the other network has a weight of this shape" in row.why


def test_equal_weights_are_told_apart_by_place(tmp_path: Path) -> None:
    """The two branches hold one and the same weight; what follows them differs, but it is not asked."""
    same = {**W, "right.weight": W["left.weight"]}
    a, b = _kernels(t.twin(tmp_path / "a.onnx", same)), _kernels(t.twin(tmp_path / "b.onnx", same))
    found = match(a, b)
    assert [pair.b.layer.index for pair in found.pairs] == list(range(6))
    assert [bool(pair.rivals) for pair in found.pairs] == [False, False, True, True, False, False]


def test_types_share_no_bits(tmp_path: Path) -> None:
    one = t.twin(tmp_path / "a.onnx", W)
    half = t.twin(tmp_path / "b.onnx", W, dtype="float16")
    found = match(_kernels(one), _kernels(half))
    assert [pair.form for pair in found.pairs] == ["stored"] * 6
    assert {pair.why for pair in found.pairs} == {"the words are float32 here and float16 there: they share no bits"}


def test_flattened_columns_are_found_in_either_order() -> None:
    weight = np.arange(2 * 3 * 4 * 5).reshape(2, 60)
    moved = weight.reshape(2, 3, 4, 5).transpose(0, 2, 3, 1).reshape(2, 60)
    ways = list(weight_arrangements((2, 60), (2, 60), frozenset({(3, 4, 5)})))
    assert any((way.of(weight) == moved).all() for way in ways)
    assert ways[0].same
    assert not list(weight_arrangements((2, 60), (3, 40), frozenset()))


@pytest.mark.parametrize(("shape", "order"), [((2, 3), (1, 0)), ((3, 4, 5), (1, 2, 0)), ((2, 3, 2, 3), (0, 3, 1, 2))])
def test_an_arrangement_moves_indices_as_it_moves_numbers(shape: tuple[int, ...], order: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).permutation(int(np.prod(shape))).reshape(shape)
    way = Arrangement(shape, order, tuple(shape[axis] for axis in order))
    index = np.arange(array.size)
    assert (way.of(array).ravel()[way.at(index)] == array.ravel()).all()
    assert (way.back.at(way.at(index)) == index).all()


def test_rows_of_images_may_have_channels_last() -> None:
    assert any(way.order == (1, 2, 0) for way in row_arrangements((3, 4, 4), (4, 4, 3)))
    assert not list(row_arrangements((3, 4, 4), (5, 4, 3)))
