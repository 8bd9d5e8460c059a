"""What ingest wants of a model's output, input and nodes, and the sentence that refuses what is not so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from corpus import CASES
from corpus.build import Build
from ingested import load
from onnx import TensorProto, helper

from onnxfi.errors import ModelError


def refusal(model: onnx.ModelProto, folder: Path, output: str | None = None) -> str:
    with pytest.raises(ModelError) as caught:
        load(model, folder, output)
    text = str(caught.value)
    assert text.startswith(str(folder / "m.onnx"))
    assert text.endswith(".")
    assert "\n" not in text
    return text


# Outputs


def two_outputs() -> onnx.ModelProto:
    b = Build("two_outputs")
    x = b.op("Relu", b.conv(b.image, 3, 4, name="conv"), output="features")
    pooled = b.op("Flatten", b.op("GlobalAveragePool", x))
    return b.model(b.dense(pooled, 4), "features", features=["N", 4, 8, 8])


def test_several_outputs(tmp_path: Path) -> None:
    assert "several outputs ('logits', 'features'): choose the logits with --output" in refusal(two_outputs(), tmp_path)
    network = load(two_outputs(), tmp_path, "features")
    assert network.output == "features"
    assert [layer.id for layer in network.layers] == ["conv"]  # what comes after is not needed
    assert ("fc.weight", "the chosen output does not depend on it") in [(r.tensor, r.why) for r in network.refused]


def test_output_may_be_any_tensor(tmp_path: Path) -> None:
    model = CASES["softmax_output"].model()
    inner = next(n.input[0] for n in model.graph.node if n.op_type == "Softmax")
    network = load(model, tmp_path, inner)
    assert [v.name for v in network.model.graph.output] == [inner]
    assert "Softmax" not in {n.op_type for n in network.model.graph.node}


@pytest.mark.parametrize("output", ["nowhere", "image", "fc.weight"])
def test_output_that_no_node_writes(tmp_path: Path, output: str) -> None:
    said = refusal(CASES["conv_bias"].model(), tmp_path, output)
    assert f"no node writes a tensor {output!r}" in said
    assert "'logits'" in said


@pytest.mark.parametrize("after", [None, "Cast", "Squeeze"])
def test_output_that_argmax_picked(tmp_path: Path, after: str | None) -> None:
    b = Build("picked")
    logits = b.dense(b.op("Flatten", b.op("GlobalAveragePool", b.conv(b.image, 3, 4, name="conv"))), 4)
    picked = b.op("ArgMax", logits, axis=1, name="pick")
    if after == "Cast":
        picked = b.op("Cast", picked, to=TensorProto.FLOAT)
    if after == "Squeeze":
        picked = b.op("Squeeze", picked, b.ints(1))
    said = refusal(b.model(picked, dtype="float32" if after == "Cast" else "int64"), tmp_path)
    assert "'pick' (ArgMax) picked, not logits" in said
    assert f"take --output {logits!r}" in said


# Inputs


def with_input(change: Callable[[onnx.ValueInfoProto], None]) -> onnx.ModelProto:
    model = CASES["conv_bias"].model()
    change(model.graph.input[0])
    return model


def typed(elem: int, *shape: int | str) -> Callable[[onnx.ValueInfoProto], None]:
    return lambda value: value.CopyFrom(helper.make_tensor_value_info(value.name, elem, shape))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (typed(TensorProto.INT64, "N", 16), "'image' is INT64 [?, 16]: that is no batch of images"),
        (typed(TensorProto.FLOAT, 16), "'image' is FLOAT [16]"),
        (typed(TensorProto.STRING, "N", 3, 8, 8), "'image' is STRING [?, 3, 8, 8]"),
        (typed(TensorProto.COMPLEX64, "N", 3, 8, 8), "'image' is COMPLEX64"),
        (lambda v: v.type.tensor_type.ClearField("shape"), "no tensor of a declared shape"),
        (
            lambda v: v.type.CopyFrom(helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, None))),
            "no tensor of a declared shape",
        ),
    ],
)
def test_input_that_holds_no_images(tmp_path: Path, change: Callable[[onnx.ValueInfoProto], None], said: str) -> None:
    assert said in refusal(with_input(change), tmp_path)


def test_an_output_that_no_image_changes(tmp_path: Path) -> None:
    b = Build("constant_answer")
    b.op("Relu", b.image)
    model = b.model(b.op("Relu", b.keep(b.normal(1, 5))))
    assert "no input that its output depends on" in refusal(model, tmp_path)


def test_an_input_that_the_output_does_not_need_is_dropped(tmp_path: Path) -> None:
    model = CASES["two_inputs"].model()
    assert "2 inputs without a default ('image', 'temperature')" in refusal(model, tmp_path)
    inner = next(n.output[0] for n in model.graph.node if n.op_type == "Conv")
    assert load(model, tmp_path, inner).input.name == "image"


def test_free_and_fixed_batches(tmp_path: Path) -> None:
    assert load(with_input(typed(1, "N", 3, 8, 8)), tmp_path).fixed_batch is None
    assert load(with_input(typed(1, -1, 3, 8, 8)), tmp_path).fixed_batch is None  # Paddle writes -1
    network = load(with_input(typed(1, 4, 3, 8, 8)), tmp_path)
    assert network.fixed_batch == 4
    assert network.input.shape == (4, 3, 8, 8)


# What is refused


def test_too_old(tmp_path: Path) -> None:
    model = CASES["conv_bias"].model()
    model.opset_import[0].version = 6
    assert "opset 6, ONNX Runtime needs 7 or newer" in refusal(model, tmp_path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("flow_if", "node '/If' (If) is control flow"),
        ("flow_loop", "node '/Loop' (Loop) is control flow"),
        ("random_noise", "(RandomNormalLike) draws random numbers"),
    ],
)
def test_ops_refused_by_name(tmp_path: Path, name: str, said: str) -> None:
    assert said in refusal(CASES[name].model(), tmp_path)


def test_control_flow_that_the_output_does_not_need(tmp_path: Path) -> None:
    model = CASES["flow_if"].model()
    assert [layer.op for layer in load(model, tmp_path, "features").layers] == ["Conv"]


def norm_in_training(opset: int) -> onnx.ModelProto:
    b = Build("norm_in_training", opset=opset)
    x = b.conv(b.image, 3, 4, name="conv")
    stored = [b.keep(b.positive(4)) for _ in range(4)]
    if opset >= 14:
        x = b.ops("BatchNormalization", x, *stored, outputs=3, name="bn", training_mode=1)[0]
    else:
        x = b.ops("BatchNormalization", x, *stored, outputs=5, name="bn")[0]
    return b.head(x, 4)


def drop_in_training() -> onnx.ModelProto:
    b = Build("drop_in_training")
    ratio, training = b.keep(np.float32(0.5)), b.keep(np.array(True))
    return b.head(b.op("Dropout", b.conv(b.image, 3, 4, name="conv"), ratio, training, name="drop"), 4)


@pytest.mark.parametrize(
    ("model", "node"),
    [
        (norm_in_training(15), "'bn' (BatchNormalization)"),
        (norm_in_training(9), "'bn' (BatchNormalization)"),
        (drop_in_training(), "'drop' (Dropout)"),
    ],
)
def test_training_mode(tmp_path: Path, model: onnx.ModelProto, node: str) -> None:
    assert f"node {node} is in training mode" in refusal(model, tmp_path)


def test_activations_in_bfloat16(tmp_path: Path) -> None:
    b = Build("bfloat16", dtype="bfloat16")
    said = refusal(b.head(b.conv(b.image, 3, 4, name="conv"), 4), tmp_path)
    assert "node '/conv/Conv' (Conv) computes in bfloat16" in said
    b = Build("bfloat16_inside")
    x = b.op("Cast", b.op("Relu", b.image), to=TensorProto.BFLOAT16, name="narrow")
    said = refusal(b.head(b.op("Cast", x, to=TensorProto.FLOAT), 3), tmp_path)
    assert "node 'narrow' (Cast) computes in bfloat16" in said


def broken(change: Callable[[onnx.GraphProto], None]) -> onnx.ModelProto:
    model = CASES["conv_bias"].model()
    change(model.graph)
    return model


def test_graphs_that_are_not_sound(tmp_path: Path) -> None:
    def dangling(graph: onnx.GraphProto) -> None:
        graph.node[1].input[0] = "ghost"

    def twice(graph: onnx.GraphProto) -> None:
        graph.node[1].output[0] = graph.node[0].output[0]

    def cycle(graph: onnx.GraphProto) -> None:
        graph.node[0].input[0] = "logits"

    assert "reads 'ghost', which nothing writes" in refusal(broken(dangling), tmp_path)
    assert "is written twice" in refusal(broken(twice), tmp_path)
    assert "cycle through node '/conv/Conv' (Conv)" in refusal(broken(cycle), tmp_path)


def test_a_node_without_what_its_op_needs(tmp_path: Path) -> None:
    model = CASES["max_pool"].model()
    del next(n for n in model.graph.node if n.op_type == "MaxPool").attribute[:]
    assert "is no valid ONNX model (onnx's checker: Required attribute 'kernel_shape'" in refusal(model, tmp_path)
