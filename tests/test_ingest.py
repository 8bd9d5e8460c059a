"""Ingest: the same answers from one form of graph, whatever the file's own version and form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from corpus import CASES, images, save, select
from corpus.build import Build
from ingested import load
from onnx import TensorProto, helper, numpy_helper

from onnxfi.graph.network import Network

Array = np.ndarray[Any, Any]


def answer(model: onnx.ModelProto, output: str, fed: Array) -> bytes:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return bytes(session.run([output], {session.get_inputs()[0].name: fed})[0].tobytes())


def initializers(network: Network) -> dict[str, Array]:
    return {t.name: numpy_helper.to_array(t) for t in network.model.graph.initializer}


@pytest.mark.parametrize("name", select(but=("refused", "float16")))
def test_computes_the_same_bits(name: str, tmp_path: Path) -> None:
    """Every case but float16, whose roundings ingest puts where the model has them (see `barrier`)."""
    case = CASES[name]
    network = Network.load(save(case, tmp_path), output=case.output)
    fed = images(case, network.fixed_batch or 3)
    onnx.checker.check_model(network.model)
    assert [v.name for v in network.model.graph.output] == [network.output]
    assert answer(network.model, network.output, fed) == answer(case.model(), network.output, fed)
    names = [n.name for n in network.model.graph.node]
    assert len(set(names)) == len(names)
    assert all(names)


@pytest.mark.parametrize("name", ["shared_weight", "shared_turned", "shared_norm", "weight_norm", "local_function"])
def test_unshared_it_computes_the_same_bits(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    network = Network.load(save(case, tmp_path), unshare=True)
    fed = images(case, 3)
    assert not network.shared
    assert answer(network.model, network.output, fed) == answer(case.model(), network.output, fed)


# Versions


def test_newer_numbers_with_nothing_new_behind_them(tmp_path: Path) -> None:
    """onnx 1.23 writes opset 28 and IR 14 by default, ONNX Runtime 1.31 loads 26 and 13."""
    model = CASES["conv_bias"].model()
    model.opset_import[0].version, model.ir_version = 28, 14
    network = load(model, tmp_path)
    assert (network.opset, network.ir_version) == (28, 14)  # what the file says
    fed = images(CASES["conv_bias"], 3)
    assert answer(network.model, "logits", fed) == answer(CASES["conv_bias"].model(), "logits", fed)


def test_initializers_that_are_inputs_too(tmp_path: Path) -> None:
    model = CASES["legacy_inputs"].model()
    assert len(model.graph.input) > 1
    assert model.ir_version == 3
    network = load(model, tmp_path)
    assert [v.name for v in network.model.graph.input] == ["image"]
    assert network.model.ir_version >= 4


# The form


def test_unsorted_and_unnamed_nodes(tmp_path: Path) -> None:
    model = CASES["conv_bias"].model()
    nodes = list(reversed(model.graph.node))
    for node in nodes:
        node.name = "same"
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    network = load(model, tmp_path)
    assert network.model.graph.node[0].op_type == "Conv"
    assert len({n.name for n in network.model.graph.node}) == 5  # Conv, Relu, GlobalAveragePool, Flatten, Gemm
    fed = images(CASES["conv_bias"], 3)
    assert answer(network.model, "logits", fed) == answer(CASES["conv_bias"].model(), "logits", fed)


def test_constants_become_initializers_under_their_own_name(tmp_path: Path) -> None:
    network = load(CASES["weight_constant"].model(), tmp_path)
    assert network.layers[0].parameters[0].tensor == "conv.weight"
    assert "Constant" not in {n.op_type for n in network.model.graph.node}


def test_sparse_constants_are_named_and_left(tmp_path: Path) -> None:
    b = Build("sparse")
    b.initializers.clear()
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("", TensorProto.FLOAT, [2], [1.0, 2.0]),
        helper.make_tensor("", TensorProto.INT64, [2], [3, 17]),
        [192, 5],
    )
    b.op("Constant", output="sparse.weight", sparse_value=sparse)
    network = load(b.model(b.op("MatMul", b.op("Flatten", b.image), "sparse.weight")), tmp_path)
    assert [(r.tensor, r.why) for r in network.refused] == [("sparse.weight", "it is stored sparse")]
    assert network.layers[0].weight is None
    fed = np.ones((2, 3, 8, 8), np.float32)
    assert np.frombuffer(answer(network.model, "logits", fed), np.float32)[:5].tolist() == [0, 0, 2, 1, 0]  # 3, 17 % 5


def test_shape_arithmetic_is_folded_and_stored_words_are_not(tmp_path: Path) -> None:
    b = Build("folding")
    weight = b.op("Transpose", b.keep(b.filters(3, 4, 3, 3), "conv.weight"), perm=[1, 0, 2, 3], name="turn")
    x = b.op("Conv", b.image, weight, pads=[1, 1, 1, 1], name="conv")
    rows = b.op("Gather", b.op("Shape", weight), b.keep(np.int64(0)), axis=0)  # 4: the shape of a constant
    half = b.op("Div", b.op("Cast", rows, to=TensorProto.FLOAT), b.keep(np.float32(8)))
    network = load(b.head(b.op("Mul", x, half, name="scale"), 4), tmp_path)
    ops = [n.op_type for n in network.model.graph.node]
    assert ops == ["Transpose", "Conv", "Mul", "GlobalAveragePool", "Flatten", "Gemm"]
    (scale,) = (n for n in network.model.graph.node if n.name == "scale")
    assert initializers(network)[scale.input[1]] == np.float32(0.5)  # 4 / 8
    assert network.layers[0].parameters[0].path == ("turn",)


def test_folding_that_would_explode_is_left_to_the_run(tmp_path: Path) -> None:
    b = Build("bomb")
    huge = b.op("ConstantOfShape", b.ints(2**20, 2**20))
    size = b.op("Cast", b.op("ReduceMax", huge, keepdims=0), to=TensorProto.FLOAT)
    network = load(b.head(b.op("Add", b.conv(b.image, 3, 4, name="conv"), size), 4), tmp_path)
    assert "ConstantOfShape" in {n.op_type for n in network.model.graph.node}


def test_traces_of_the_exporters_machine_are_dropped(tmp_path: Path) -> None:
    model = CASES["conv_bias"].model()
    model.graph.node[0].doc_string = "/home/somebody/train.py"
    helper.set_metadata_props(model.graph.node[0], {"pkg.torch.onnx.stack_trace": "/home/somebody", "kept": "yes"})
    network = load(model, tmp_path)
    assert b"somebody" not in network.model.SerializeToString()
    assert [p.key for p in network.model.graph.node[0].metadata_props] == ["kept"]


def test_what_stays_wrong_about_nan_is_a_note(tmp_path: Path) -> None:
    b = Build("traps")
    x = b.op("ThresholdedRelu", b.conv(b.image, 3, 4, name="conv"), name="odd")
    (note,) = load(b.head(x, 4), tmp_path).notes
    assert "'odd' (ThresholdedRelu)" in note
