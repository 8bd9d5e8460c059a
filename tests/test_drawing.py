"""Fault lists drawn: the published one row for row, the published numbers of faults, and our own draws."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from onnxfi.api import faults
from onnxfi.errors import FaultError, StudyError
from onnxfi.faults.listing import Entry, FaultList, read_list
from onnxfi.faults.writing import list_text
from onnxfi.graph.network import Network
from onnxfi.metrics.prior import date23_table
from onnxfi.study.drawing import draw_list, own, published, published_counts
from onnxfi.study.list_settings import Draw, ListPlan

HALF = np.full(32, 0.5)

# ResNet-20 for CIFAR-10 (He et al. 2016): names and shapes of PyTorch's named_parameters.
RESNET20 = (
    {"conv1": (16, 3, 3, 3)}
    | {
        f"layer{stage}.{block}.conv{half}": (
            16 * 2 ** (stage - 1),
            16 * 2 ** (stage - 1 - (stage > 1 and block == 0 and half == 1)),
            3,
            3,
        )
        for stage in (1, 2, 3)
        for block in (0, 1, 2)
        for half in (1, 2)
    }
    | {"linear": (10, 64)}
)
SHAPES = list(RESNET20.values())


def test_the_published_list_of_resnet20() -> None:
    drawn = published(SHAPES, published_counts(SHAPES, "network", 0.01, 0.99, HALF), seed=42)
    names = list(RESNET20)
    rows = tuple(Entry(i, names[layer], index, bit) for i, (layer, index, bit) in enumerate(drawn))
    text = list_text(FaultList("list", rows), "list").split("\n", 1)[1]
    # cad-polito-it/dnn-benchmarks @ f95247d42dbc, ResNet20_FL.csv: its rows, the one edited by hand as it was drawn.
    assert hashlib.sha256(text.encode()).hexdigest() == (
        "56cc39d65dbbeaecba13d1c1b7aafbb840eb01ed8072fb81cd3f58ac6a1fc3c9"
    )


# The formula on 268,336 weights, e = 1 %, t = 2.58, two stuck-at faults a bit. GabrieleGavarini's
# ExhaustiveFaultInjection has 307,650 and 4,885,760, with one layer's 9,216 weights counted as 9,226; with the right
# number it gives these.
@pytest.mark.parametrize(("plan", "faults"), [("network", 16_627), ("layer", 307_649), ("data-unaware", 4_885_632)])
def test_published_numbers_of_faults(plan: ListPlan, faults: int) -> None:
    assert sum(count for _, count in published_counts(SHAPES, plan, 0.01, 0.99, HALF)) == faults


def test_the_published_data_aware_number() -> None:
    """201,079 in the authors' tables, one layer being ten weights too large there: at most one fault a bit apart."""
    counts = published_counts(SHAPES, "data-aware", 0.01, 0.99, date23_table())
    assert abs(sum(count for _, count in counts) - 201_079) <= 32


def test_a_plan_that_wants_all_faults_gets_each_once() -> None:
    shapes = [(2, 3), (1, 2)]
    drawn = list(published(shapes, published_counts(shapes, "layer", 0.01, 0.99, HALF), seed=1))
    assert len(drawn) == len(set(drawn)) == (6 + 2) * 32


@pytest.mark.parametrize("plan", ["network", "layer", "data-unaware", "data-aware"])
def test_own_draws_are_without_replacement_and_inside(plan: ListPlan) -> None:
    shapes = [(4, 3, 3, 3), (10, 16)]
    p = date23_table() if plan == "data-aware" else HALF
    asked = Draw(plan=plan, margin=0.05, seed=3)
    drawn = list(own(shapes, asked, p))
    assert drawn == list(own(shapes, asked, p))
    assert drawn != list(own(shapes, Draw(plan=plan, margin=0.05, seed=4), p))
    assert len(set(drawn)) == len(drawn)
    assert [layer for layer, _, _ in drawn] == sorted(layer for layer, _, _ in drawn)
    assert all(len(i) == len(shapes[k]) and all(a < n for a, n in zip(i, shapes[k], strict=True)) for k, i, _ in drawn)
    # n(N, p) of Leveugle et al., in their notation, for the layer of 160 words.
    per_layer = Counter(layer for layer, _, _ in drawn)
    if plan == "layer":
        N, t = 160 * 32, 2.5758293
        assert per_layer[1] == round(N / (1 + 0.05**2 * (N - 1) / (t**2 * 0.25)))
    if plan == "data-unaware":
        assert min(Counter((layer, bit) for layer, _, bit in drawn).values()) > 50


def small(path: Path, framework: str | None = None) -> Network:
    """Two layers, whose initializers stand in the file in the other order than the graph runs them."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(4, 3, 3, 3)).astype("f4"), rng.normal(size=(4, 5)).astype("f4")
    nodes = [
        helper.make_node("Conv", ["x", "conv.weight"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("MatMul", ["f", "head.weight"], ["y"]),
    ]
    constants = [numpy_helper.from_array(second, "head.weight"), numpy_helper.from_array(first, "conv.weight")]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])
    taken = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 5])
    model = helper.make_model(helper.make_graph(nodes, "g", [given], [taken], constants), ir_version=9)
    if framework:
        helper.set_model_props(model, {"onnxfi.framework": framework})
    save(model, path)
    return Network.load(path, unshare=True)


def test_layers_come_in_the_order_of_the_file_and_in_the_framework_s_form(tmp_path: Path) -> None:
    drawn = draw_list(small(tmp_path / "a.onnx"), Draw(margin=0.1))
    assert drawn.layers == ("head", "conv")
    heads = np.array([entry.index for entry in drawn.entries if entry.layer == "head"])
    assert heads.max(axis=0).tolist() == [4, 3]  # PyTorch's (o, i) of a MatMul's (4, 5), enough rows to meet all
    keras = draw_list(small(tmp_path / "b.onnx", "keras"), Draw(margin=0.1))
    assert [entry.bit for entry in keras.entries] == [entry.bit for entry in drawn.entries]
    turned = [(*e.index[2:], e.index[1], e.index[0]) for e in drawn.entries]
    assert [entry.index for entry in keras.entries] == turned


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    for wrong in ({"margin": 0.0}, {"confidence": 1.0}, {"seed": -1}):
        with pytest.raises(StudyError):
            Draw(**wrong)  # type: ignore[arg-type]
    network = small(tmp_path / "a.onnx")
    network.metadata["onnxfi.layers"] = '{"conv.weight": "same", "head.weight": "same"}'
    with pytest.raises(FaultError, match="two layers called 'same'"):
        draw_list(network, Draw())


@pytest.mark.shared
def test_the_draw_is_the_published_file_but_for_one_row(shared_data: Path) -> None:
    said = read_list(shared_data / "fault_lists/ResNet20_FL.csv").entries
    names = list(RESNET20)
    drawn = published(SHAPES, published_counts(SHAPES, "network", 0.01, 0.99, HALF), seed=42)
    own_rows = [(names[layer], index, bit) for layer, index, bit in drawn]
    apart = [i for i, (a, e) in enumerate(zip(own_rows, said, strict=True)) if a != (e.layer, e.index, e.bit)]
    assert apart == [2]  # data/README: row 2, bit 13 drawn, 30 published
    assert math.prod(RESNET20["conv1"]) == 432


@pytest.mark.slow
def test_a_branched_network_is_drawn_from_its_file_in_the_order_of_its_parameters(tmp_path: Path) -> None:
    """CIFAR-100 ResNet-18, whose shortcuts the graph runs in another order than named_parameters has them."""
    for name in ("torch", "onnxscript"):
        pytest.importorskip(name, reason="needs the extra [pytorch]")
    from converters.__main__ import main as convert

    model = tmp_path / "net.onnx"
    assert convert(["pytorch", "--arch", "resnet18-cifar100", "--random", "0", "-o", str(model)]) == 0
    faults.draw(model, Draw(generator="published", seed=42), out=tmp_path / "list.csv")
    rows = (tmp_path / "list.csv").read_bytes().split(b"\n", 1)[1]
    # cad-polito-it/dnn-benchmarks @ f95247d42dbc, ResNet18_CIFAR100_FL.csv without results.
    assert hashlib.sha256(rows).hexdigest() == "c5a8d52b64ae1ec4cf3d794ed01cdd851b0c3fe8ba9f6f93feac88086137e535"
