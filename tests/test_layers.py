"""Layers as exporters leave them behind: ids, what became of BatchNormalization, the description, files of others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from corpus import CASES
from corpus.build import Build
from ingested import load, of_case
from onnx import helper

from onnxfi.graph.describe import describe
from onnxfi.graph.naming import METADATA_KEY, SCOPES_KEY
from onnxfi.graph.network import Network

# Ids


def test_our_own_metadata_names_first(tmp_path: Path) -> None:
    model = CASES["conv_bias"].model()
    helper.set_model_props(model, {METADATA_KEY: json.dumps({"conv.weight": "features.0", "fc.weight": "features.0"})})
    assert [layer.id for layer in load(model, tmp_path).layers] == ["features.0", "features.0#2"]


@pytest.mark.parametrize("text", ["", "[", "[1]", '{"a": 1}', "[" * 100_000])
def test_metadata_that_is_not_ours(tmp_path: Path, text: str) -> None:
    model = CASES["conv_bias"].model()
    helper.set_model_props(model, {METADATA_KEY: text})
    network = load(model, tmp_path)
    assert [layer.id for layer in network.layers] == ["conv", "fc"]
    assert METADATA_KEY in network.notes[0]


def dense_called(weight: str, node: str = "", scopes: str | None = None) -> onnx.ModelProto:
    b = Build("named", shape=(12,))
    x = b.op("MatMul", b.image, b.keep(b.normal(12, 5), weight), name=node)
    if scopes is not None:
        helper.set_metadata_props(b.nodes[-1], {SCOPES_KEY: scopes})
    return b.model(x)


@pytest.mark.parametrize(
    ("weight", "node", "expected"),
    [
        ("layer1.0.conv1.weight", "/x/MatMul", "layer1.0.conv1"),  # PyTorch
        ("dense/kernel:0", "n", "dense"),  # Keras
        ("model/conv2d_5/Conv2D/ReadVariableOp:0", "n", "model/conv2d_5"),  # tf2onnx, as in shared/data/onnx
        ("model_9/conv2d/Conv2D_weights_fused_bn", "n", "model_9/conv2d"),
        ("StatefulPartitionedCall/seq/dense/MatMul/ReadVariableOp:0", "n", "seq/dense"),
        ("resnet20_1/conv1_1/convolution/merged_input:0", "n", "resnet20_1/conv1_1"),  # EXPORT.md 3.1
        ("model/conv2d_8/Conv2D", "n", "model/conv2d_8"),  # tflite through tf2onnx
        ("conv2_depthwise_weights", "n", "conv2_depthwise"),  # Paddle
        ("fc_0.w_0", "n", "fc_0"),
        ("gpu_0/res5_2_branch2c_w_0", "n", "gpu_0/res5_2_branch2c"),  # Caffe2
        ("enc.in_proj_weight", "n", "enc.in_proj"),
        # made up by an exporter: the node's name
        ("onnx::Conv_203", "/layer1/layer1.0/conv1/Conv", "layer1.0.conv1"),  # TorchScript
        ("onnx::MatMul_12", "/_blocks.0/_depthwise_conv/Conv", "_blocks.0._depthwise_conv"),
        ("onnx::MatMul_12", "/features/features.3/features.3.0/Conv", "features.3.0"),
        ("onnx::MatMul_12", "/encoder/layers/layers.0/attn/MatMul", "encoder.layers.0.attn"),
        ("onnx::MatMul_12", "/MatMul", "MatMul"),
        ("193", "Conv_12", "Conv_12"),  # PyTorch 1
        ("Parameter193", "Times212", "Times212"),  # CNTK
        ("const_fold_opt__2789", "model/conv2d/depthwise", "model/conv2d"),
        ("/attn/Constant_3_output_0", "/attn/MatMul", "attn"),
        ("val_14", "", "matmul_1"),  # nothing left but op and ordinal
    ],
)
def test_ids_from_names(tmp_path: Path, weight: str, node: str, expected: str) -> None:
    assert load(dense_called(weight, node), tmp_path).layers[0].id == expected


def test_a_name_of_a_million_characters_is_taken_as_it_is(tmp_path: Path) -> None:
    name = "a" + "/Cast" * 200_000 + "!"
    assert load(dense_called(name), tmp_path).layers[0].id == name


@pytest.mark.parametrize(
    ("scopes", "expected"),
    [
        ("['', 'layer1', 'layer1.0', 'layer1.0.conv1', 'conv2d_1']", "layer1.0.conv1"),  # EXPORT.md 2.1
        ("['', 'relu']", "node"),
        ("__import__('os')", "node"),
        ("[1, 2]", "node"),
        ("(" * 5000, "node"),
    ],
)
def test_ids_from_the_module_scope(tmp_path: Path, scopes: str, expected: str) -> None:
    assert load(dense_called("val_14", "node", scopes), tmp_path).layers[0].id == expected


def test_a_shared_weight_names_neither_reader_and_duplicates_are_counted(tmp_path: Path) -> None:
    b = Build("tied", shape=(5,))
    b.keep(b.normal(5, 5), "tied.weight")
    x = b.image
    for name in ("block#2", "block", "block"):
        x = b.op("MatMul", x, "tied.weight", name=f"/{name}/MatMul")
    assert [layer.id for layer in load(b.model(x), tmp_path).layers] == ["block#2", "block", "block#3"]


def test_characters_that_do_not_print_are_escaped(tmp_path: Path) -> None:
    network = load(dense_called("a\x1b[31m\nb\u202e.weight"), tmp_path)
    assert network.layers[0].id == "a\\x1b[31m\\nb\\u202e"
    assert network.layers[0].parameters[0].tensor == "a\x1b[31m\nb\u202e.weight"


# BatchNormalization


def folded(weight: str, bias: str, output: str = "y") -> onnx.ModelProto:
    b = Build("folded")
    w, c = b.keep(b.filters(4, 3, 3, 3), weight), b.keep(b.normal(4), bias)
    return b.head(b.op("Conv", b.image, w, c, output=output, pads=[1, 1, 1, 1]), 4)


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda: CASES["arch_residual"].model(), "kept"),
        (lambda: CASES["conv_plain"].model(), "none"),
        (lambda: CASES["conv_bias"].model(), "none or folded"),
        (lambda: CASES["matmul_add"].model(), "none"),
        (lambda: folded("conv1.weight", "conv1.weight_bias"), "folded"),  # PyTorch, dynamo
        (lambda: folded("onnx::Conv_203", "onnx::Conv_204"), "folded"),  # PyTorch, TorchScript
        (lambda: folded("m/c/Conv2D_weights_fused_bn", "m/c/Conv2D_bias_fused_bn"), "folded"),  # tf2onnx
        (lambda: folded("w", "resnet/bn1_1/batchnorm/sub:0"), "folded"),  # Keras
        (lambda: folded("w", "b", "model/batch_normalization/FusedBatchNormV3:0"), "folded"),
    ],
)
def test_batch_normalization(tmp_path: Path, build: Callable[[], onnx.ModelProto], expected: str) -> None:
    assert load(build(), tmp_path).batch_norm == expected


# The description


def test_description_is_json_and_counts_each_word_once(tmp_path: Path) -> None:
    said = json.loads(json.dumps(describe(of_case("shared_weight", tmp_path))))
    network = of_case("shared_weight", tmp_path)
    stored = {p.tensor: p for layer in network.layers for p in layer.parameters}
    assert said["sites"]["all"] == sum(p.elements for p in stored.values())
    assert said["faults"]["all"] == 32 * said["sites"]["all"]
    assert [[p["counted"] for p in layer["parameters"]] for layer in said["layers"][:2]] == [[True], [False]]
    assert said["input"] == {"name": "image", "dtype": "float32", "shape": [None, 3, 8, 8]}
    assert said["shared"] == {"conv.weight": list(network.shared["conv.weight"])}


def test_description_counts_the_bits_of_the_stored_type(tmp_path: Path) -> None:
    said = describe(of_case("qdq_int8", tmp_path))
    assert said["faults"]["weights"] == 8 * said["sites"]["weights"]
    biases = said["sites"]["all"] - said["sites"]["weights"]
    assert said["faults"]["all"] - said["faults"]["weights"] == 32 * biases


# Files of others: counts from the data's README (values in initializers, ops), ids from the file


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "layers", "weights", "batch_norm", "ids"),
    [
        ("dnnbenchmarks_resnet20_keras_tf2onnx", 20, 268336, "folded", ["model_9/conv2d", "model_9/dense"]),
        ("efficientnet_lite0_ts13", 50, 4608992, "folded", ["_conv_stem", "_fc"]),
        (
            "marabou_gtsrb_fast_tf2onnx",
            4,
            66288,
            "none or folded",
            ["sequential_11/conv2d_28", "sequential_11/dense_23"],
        ),
        ("mlperftiny_resnet8_float_tf2onnx", 10, 77360, "folded", ["model/conv2d", "model/dense"]),
        ("mlperftiny_resnet8_int8_qdq_tf2onnx", 10, 77360, "folded", ["model/conv2d", "model/dense"]),
        ("ortexamples_mnist8_cntk", 3, 5960, "none or folded", ["Convolution28", "Times212"]),
        ("rapidocr_textangle_cls_paddle", 54, 124072, "kept", ["conv1", "fc_0"]),
        ("vnncomp21_cifar10_resnet_4b", 13, 123288, "none or folded", ["conv1", "linear2"]),
        (
            "vnncomp21_marabou_cifar10_medium",
            5,
            165248,
            "none or folded",
            ["sequential_1/conv2d_2", "sequential_1/dense_5"],
        ),
    ],
)
def test_files_of_others(
    shared_data: Path, name: str, layers: int, weights: int, batch_norm: str, ids: list[str]
) -> None:
    network = Network.load(shared_data / "onnx" / f"{name}.onnx")
    assert len(network.layers) == layers
    assert sum(p.elements for _, p in network.parameters()) == weights
    assert network.batch_norm == batch_norm
    assert [network.layers[0].id, network.layers[-1].id] == ids
    assert all(layer.weight is not None for layer in network.layers)
    assert network.shared == {}
