"""The stored words that a layer reads: parameters and their roles, its activation, weights that layers share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from corpus.build import Build
from ingested import load, of_case
from onnx import TensorProto, helper

from onnxfi.graph.layers import Layer


def roles(layer: Layer) -> list[tuple[str, str]]:
    return [(p.role, p.tensor) for p in layer.parameters]


# Parameters


def test_convolution_with_bias_and_normalization(tmp_path: Path) -> None:
    first, second, last = of_case("names_html", tmp_path).layers
    assert [p.role for p in first.parameters] == ["weight", "bias", "scale", "shift", "mean", "variance"]
    assert [p.role for p in second.parameters] == ["weight"]
    assert [(p.role, p.shape, p.slot) for p in last.parameters] == [("weight", (5, 4), 1), ("bias", (5,), 2)]


def test_order_is_weight_bias_then_what_follows(tmp_path: Path) -> None:
    layer = of_case("channel_affine", tmp_path).layers[0]
    assert [p.role for p in layer.parameters] == ["weight", "bias", "scale", "shift"]
    assert [p.node == layer.node for p in layer.parameters] == [True, True, False, False]
    assert layer.weight == layer.parameters[0]


def test_bias_in_an_add_of_its_own(tmp_path: Path) -> None:
    """MatMul + Add (Keras, PyTorch's tokens), also behind a Reshape of the constant (Paddle)."""
    b = Build("added", shape=(12,))
    x = b.op("MatMul", b.image, b.keep(b.normal(12, 8), "fc1.weight"))
    x = b.op("Add", x, b.op("Reshape", b.keep(b.normal(8), "fc1.bias"), b.ints(1, 8), name="row"), name="add")
    x = b.op("Gemm", b.op("Relu", x), b.keep(b.normal(8, 5), "fc2.weight"), b.keep(b.normal(5), "fc2.bias"))
    first, second = load(b.model(b.op("Add", x, b.keep(b.normal(5), "more"))), tmp_path).layers
    assert roles(first) == [("weight", "fc1.weight"), ("bias", "fc1.bias")]
    assert (first.parameters[1].node, first.parameters[1].slot, first.parameters[1].path) == ("add", 1, ("row",))
    assert roles(second) == [("weight", "fc2.weight"), ("bias", "fc2.bias"), ("shift", "more")]  # it has a bias


def test_integer_layer_with_a_bias_behind_its_scale(tmp_path: Path) -> None:
    """Dynamic quantisation: MatMulInteger, Cast, Mul by the scales, Add."""
    b = Build("dynamic", shape=(12,))
    q, scale, zero = b.ops("DynamicQuantizeLinear", b.image, outputs=3)
    weight = b.keep(b.rng.integers(-100, 100, (12, 5)), "fc.weight_quantized", "int8")
    x = b.op("MatMulInteger", q, weight, zero, b.keep(np.int8(0), "fc.zero"))
    x = b.op("Mul", b.op("Cast", x, to=TensorProto.FLOAT), b.op("Mul", scale, b.keep(np.float32(0.01), "fc.scale")))
    network = load(b.model(b.op("Add", x, b.keep(b.normal(5), "fc.bias"))), tmp_path)
    assert roles(network.layers[0]) == [("weight", "fc.weight_quantized"), ("bias", "fc.bias")]
    assert network.layers[0].id == "fc"
    assert {r.tensor: r.why for r in network.refused} == {
        "fc.zero": "quantisation scale or zero point of MatMulInteger",
        "fc.scale": "a single number of the graph's arithmetic (Mul)",
    }


def test_the_other_numbers_belong_to_the_layer_they_follow(tmp_path: Path) -> None:
    b = Build("follow")
    x = b.op("Sub", b.image, b.keep(b.normal(1, 3, 1, 1), "image.mean"))  # before all layers: the first one's
    x = b.op("PRelu", b.conv(x, 3, 4, name="a"), b.keep(b.positive(1), "slope"))
    left = b.conv(x, 4, 4, name="left")
    right = b.conv(x, 4, 4, name="right")
    joined = b.op("Add", left, right)  # what follows both belongs to the later one
    x = b.op("Mul", joined, b.keep(b.positive(4, 1, 1), "gain"))
    x = b.op("Max", x, b.keep(b.normal(4, 1, 1), "floor"))
    network = load(b.head(x, 4), tmp_path)
    assert [roles(layer) for layer in network.layers] == [
        [("weight", "a.weight"), ("shift", "image.mean"), ("scale", "slope")],
        [("weight", "left.weight")],
        [("weight", "right.weight"), ("scale", "gain"), ("constant", "floor")],
        [("weight", "fc.weight"), ("bias", "fc.bias")],
    ]


@pytest.mark.parametrize(
    ("case", "stored", "path"),
    [
        ("weight_transpose", ("conv.kernel", (3, 3, 3, 4), "float32"), ["Transpose"]),
        ("weight_reshape", ("conv.weight", (4, 27), "float32"), ["Reshape"]),
        ("weight_int8_axis", ("conv.weight_q", (4, 3, 3, 3), "int8"), ["DequantizeLinear"]),
        ("weight_uint8", ("conv.weight_q", (4, 3, 3, 3), "uint8"), ["DequantizeLinear"]),
        ("weight_bfloat16", ("conv.weight", (4, 3, 3, 3), "bfloat16"), ["Cast"]),
        ("weight_long_path", ("conv.weight", (3, 4, 3, 3), "float16"), ["Cast", "Transpose", "Identity"]),
        ("weight_constant_floats", ("conv.weight", (108,), "float32"), ["Reshape"]),
    ],
)
def test_the_word_is_the_stored_one(tmp_path: Path, case: str, stored: tuple[object, ...], path: list[str]) -> None:
    network = of_case(case, tmp_path)
    weight = network.layers[0].weight
    assert weight is not None
    assert (weight.tensor, weight.shape, weight.dtype) == stored
    ops = {n.name: n.op_type for n in network.model.graph.node}
    assert [ops[name] for name in weight.path] == path
    assert (weight.node, weight.slot) == (network.layers[0].node, 1)


def test_quantised_words(tmp_path: Path) -> None:
    network = of_case("qdq_int8", tmp_path)
    for layer in network.layers:
        assert [(p.role, p.dtype) for p in layer.parameters] == [("weight", "int8"), ("bias", "int32")]
    assert {r.why for r in network.refused} == {
        "quantisation scale or zero point of DequantizeLinear",
        "quantisation scale or zero point of QuantizeLinear",
    }


def test_a_weight_that_is_computed_from_two_stored_tensors(tmp_path: Path) -> None:
    """Weight normalisation: direction times length, both stored."""
    layer = of_case("weight_norm", tmp_path).layers[0]
    assert roles(layer) == [("weight", "conv.weight_v"), ("scale", "conv.weight_g")]


def test_a_float16_path_goes_through_the_barriers(tmp_path: Path) -> None:
    b = Build("half", dtype="float16")
    wide = b.keep(b.filters(4, 3, 3, 3).astype(np.float32), "conv.weight")
    narrow = b.op("Cast", wide, to=TensorProto.FLOAT16, name="narrow")
    network = load(b.head(b.op("Conv", b.image, narrow, pads=[1, 1, 1, 1], name="conv"), 4), tmp_path)
    weight = network.layers[0].weight
    assert weight is not None
    made = {n.name: n for n in network.model.graph.node}
    steps = [made[name] for name in weight.path]
    assert [n.op_type for n in steps] == ["Cast", "BitCast", "BitCast"]
    chain = [weight.tensor, *(n.output[0] for n in steps)]
    assert [n.input[0] for n in (*steps, made["conv"])] == [*chain[:-1], network.layers[0].input]
    assert made["conv"].input[1] == chain[-1]


def test_four_bits_are_refused_by_name(tmp_path: Path) -> None:
    b = Build("four_bits", opset=21, shape=(12,))
    b.initializers.append(helper.make_tensor("fc.weight", TensorProto.INT4, [12, 5], [1] * 60))
    weight = b.op("DequantizeLinear", "fc.weight", b.keep(np.float32(0.1)))
    network = load(b.model(b.op("MatMul", b.image, weight)), tmp_path)
    assert network.layers[0].weight is None
    assert ("fc.weight", "its words are INT4, which faults cannot be put into") in [
        (r.tensor, r.why) for r in network.refused
    ]


def test_shapes_bounds_and_single_numbers_are_no_sites(tmp_path: Path) -> None:
    b = Build("no_sites")
    x = b.op("Clip", b.conv(b.image, 3, 4, name="conv"), b.keep(np.float32(0), "low"), b.keep(np.float32(6), "high"))
    x = b.op("Pad", x, b.keep(np.array([0, 0, 0, 0, 0, 0, 1, 1], np.int64), "pads"))
    x = b.op("Div", x, b.keep(np.float32(3), "three"))
    network = load(b.head(x, 4), tmp_path)
    assert {r.tensor: r.why for r in network.refused if not r.tensor.startswith("const")} == {
        "low": "bound, shape or axis of Clip",
        "high": "bound, shape or axis of Clip",
        "pads": "bound, shape or axis of Pad",
        "three": "a single number of the graph's arithmetic (Div)",
    }
    assert {p.tensor for _, p in network.parameters("all")} == {"conv.weight", "fc.weight", "fc.bias"}


def test_only_weights_of_rank_two_count_by_default(tmp_path: Path) -> None:
    network = of_case("conv_bias", tmp_path)
    assert [(layer.id, p.tensor) for layer, p in network.parameters()] == [("conv", "conv.weight"), ("fc", "fc.weight")]
    assert [p.tensor for _, p in network.parameters("all")] == ["conv.weight", "conv.bias", "fc.weight", "fc.bias"]
    vector = Build("vector", shape=(7, 12))
    x = vector.op("MatMul", vector.image, vector.keep(vector.normal(12), "direction"))
    network = load(vector.model(vector.dense(x, 7)), tmp_path)
    assert [layer.id for layer in network.layers] == ["direction", "fc"]
    assert [p.tensor for _, p in network.parameters()] == ["fc.weight"]


def test_no_layer_at_all(tmp_path: Path) -> None:
    network = of_case("no_layers", tmp_path)
    assert network.layers == ()
    assert "nothing to put a fault into" in network.notes[0]


# Activations


def test_the_stored_word_behind_a_layers_input(tmp_path: Path) -> None:
    network = of_case("nhwc_input", tmp_path)  # Transpose, Conv, Relu, Conv, Relu, Transpose, Reshape, MatMul
    made = {o: n.op_type for n in network.model.graph.node for o in n.output}
    assert [made.get(layer.input) for layer in network.layers] == ["Transpose", "Relu", "Reshape"]
    assert [made.get(layer.word) for layer in network.layers] == [None, "Relu", "Relu"]
    assert network.layers[0].word == "image"


def test_the_stored_word_of_a_quantised_activation(tmp_path: Path) -> None:
    network = of_case("qdq_int8", tmp_path)
    made = {o: n.op_type for n in network.model.graph.node for o in n.output}
    assert {made[layer.input] for layer in network.layers[:2]} == {"DequantizeLinear"}
    assert {made[layer.word] for layer in network.layers[:2]} == {"QuantizeLinear"}


# Shared


def test_shared_weights_are_one_site_under_their_first_reader(tmp_path: Path) -> None:
    network = of_case("shared_weight", tmp_path)
    first, second, last = network.layers
    assert network.shared == {"conv.weight": (first.node, second.node)}
    assert first.weight is not None
    assert first.weight.readers == (first.node, second.node)
    assert [(layer.index, p.tensor) for layer, p in network.parameters()] == [(0, "conv.weight"), (2, "fc.weight")]
    assert last.weight is not None


def test_unshared_each_reader_has_its_own(tmp_path: Path) -> None:
    """`shared_turned`: one reader reads it through Transpose, which is cloned with it where it must be."""
    for case in ("shared_weight", "shared_turned"):
        plain, split = of_case(case, tmp_path), of_case(case, tmp_path, unshare=True)
        (name,) = plain.shared
        weights = [layer.weight.tensor for layer in split.layers if layer.weight is not None]
        assert weights[:2] == [name, f"{name}#{split.layers[1].node}"]
        assert [layer.id for layer in plain.layers] == [layer.id for layer in split.layers]
        assert split.shared == {}


def test_merged_by_the_exporter_through_identity(tmp_path: Path) -> None:
    """TorchScript merges equal initializers: one feeds many layers through Identity nodes."""
    b = Build("merged")
    b.keep(b.positive(4), "a.norm")
    again = b.op("Identity", "a.norm")
    x = b.op("BatchNormalization", b.conv(b.image, 3, 4, name="a"), *["a.norm"] * 4, name="n1")
    x = b.op("BatchNormalization", b.conv(x, 4, 4, name="b"), *[again] * 4, name="n2")
    model = b.head(x, 4)
    assert load(model, tmp_path).shared == {"a.norm": ("n1", "n2")}
    split = load(model, tmp_path, unshare=True)
    assert [roles(layer) for layer in split.layers[:2]] == [
        [("weight", "a.weight"), ("scale", "a.norm")],
        [("weight", "b.weight"), ("scale", "a.norm#n2")],
    ]
