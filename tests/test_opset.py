"""Models that move to another opset compute the same and lose nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from corpus import CASES, images, select
from onnx import TensorProto, helper, numpy_helper

from onnxfi.errors import ModelError
from onnxfi.graph.opset import changed_ops, loadable, opset_of, to_opset

Array = np.ndarray[Any, Any]
F = np.float32


def run(model: onnx.ModelProto, x: Array) -> Array:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0])


def single(op: str, opset: int, *more: Array, ir: int = 4, **attributes: Any) -> onnx.ModelProto:
    """A model of one node on a float32 input of four axes, its further inputs stored."""
    names = [f"i{slot}" for slot in range(len(more))]
    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [f"{n}{i}" for i in range(4)]) for n in "xy"]
    node = helper.make_node(op, ["x", *names], ["y"], name="it", **attributes)
    stored = [numpy_helper.from_array(v, n) for n, v in zip(names, more, strict=True)]
    graph = helper.make_graph([node], "g", value[:1], value[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)


def image() -> Array:
    return np.random.default_rng(0).standard_normal((2, 4, 6, 7)).astype(F)


@pytest.mark.parametrize("name", select(but=("refused", "fixed-batch")))
def test_corpus_at_the_newest_opset(name: str) -> None:
    """The same bits from every model of the corpus, and every tensor and initializer under its name."""
    case = CASES[name]
    model = case.model()
    before = model.SerializeToString(deterministic=True)
    newest = to_opset(model)
    assert model.SerializeToString(deterministic=True) == before
    onnx.checker.check_model(newest)
    assert (opset_of(newest), newest.ir_version >= 10) == (26, True)
    x = images(case, 4)
    assert run(newest, x).tobytes() == run(model, x).tobytes()
    if not model.functions:
        assert {o for n in model.graph.node for o in n.output} <= {o for n in newest.graph.node for o in n.output}
    stored = {t.name: t.SerializeToString() for t in newest.graph.initializer}
    assert {t.name: t.SerializeToString() for t in model.graph.initializer}.items() <= stored.items()


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize(
    ("opset", "scales"),  # Upsample, before opset 10, only enlarges
    [(opset, scales) for opset in (7, 9, 10) for scales in ((2.0, 2.0), (1.5, 1.7))] + [(10, (0.5, 0.6))],
)
def test_old_resize_keeps_its_grid(opset: int, mode: str, scales: tuple[float, float]) -> None:
    """onnx's converter forgets that the coordinates of Upsample and of Resize before opset 11 are 'asymmetric'."""
    four = [1.0, 1.0, *scales]
    op = "Resize" if opset == 10 else "Upsample"
    more = () if opset == 7 else (np.array(four, F),)
    attributes = {"scales": four} if opset == 7 else {}
    model = single(op, opset, *more, mode=mode, **attributes)
    assert run(to_opset(model), image()).tobytes() == run(model, image()).tobytes()


def test_average_pool_is_summed_in_another_order() -> None:
    """ONNX Runtime's AveragePool from opset 19 on is another kernel: why nothing is converted without need."""
    model = single("AveragePool", 13, kernel_shape=[3, 3], pads=[1] * 4)
    newest = to_opset(model)
    np.testing.assert_allclose(run(newest, image()), run(model, image()), rtol=1e-5, atol=1e-6)


def test_metadata_of_nodes_is_kept() -> None:
    case = CASES["arch_residual"]
    model = case.model()
    for i, node in enumerate(model.graph.node):
        node.metadata_props.add(key="scope", value=f"module {i}")
    model.graph.node[1].name = model.graph.node[0].name  # a name of two nodes says nothing about either
    model.metadata_props.add(key="onnxfi.layers", value="{}")
    newest = to_opset(model)
    said = {n.output[0]: [p.value for p in n.metadata_props] for n in newest.graph.node}
    for i, node in enumerate(model.graph.node):
        assert said[node.output[0]] == ([f"module {i}"] if i > 1 else []), i
    assert [(p.key, p.value) for p in newest.metadata_props] == [(p.key, p.value) for p in model.metadata_props]


def test_constants_that_the_converter_adds_are_initializers_and_nodes_are_named() -> None:
    model = single("Clip", 9, min=0.0, max=6.0)
    newest = to_opset(model)
    assert [n.op_type for n in newest.graph.node] == ["Clip"]
    assert len(newest.graph.initializer) == 2
    softmax = to_opset(single("Softmax", 9, axis=1))  # Shape, Flatten, Softmax, Reshape since opset 13
    assert all(n.name for n in softmax.graph.node)
    assert len({n.name for n in softmax.graph.node}) == len(softmax.graph.node)


def test_sparse_initializer_is_kept() -> None:
    model = single("Add", 13, ir=7)
    values = helper.make_tensor("s", TensorProto.FLOAT, [1], [5.0])
    indices = helper.make_tensor("s_at", TensorProto.INT64, [1], [2])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [7]))
    model.graph.node[0].input.append("s")
    newest = to_opset(model)
    assert len(newest.graph.sparse_initializer) == 1
    assert [v.name for v in newest.graph.input] == ["x"]


@pytest.mark.parametrize("opset", [27, 28])
def test_newer_numbers_with_nothing_new_come_down(opset: int) -> None:
    """onnx 1.23 writes opset 28 and IR 14 by default; ONNX Runtime 1.31 loads 26 and 13."""
    model = single("Relu", opset, ir=14)
    low = loadable(model)
    assert (opset_of(low), low.ir_version) == (26, 13)
    assert run(low, image()).tobytes() == np.maximum(image(), 0).tobytes()
    assert opset_of(model) == opset


def test_what_loads_is_left_alone() -> None:
    model = single("Relu", 26, ir=13)
    assert loadable(model) is model
    model.ir_version = 14
    assert (loadable(model).ir_version, model.ir_version) == (13, 14)


def test_an_op_of_a_newer_opset_is_named() -> None:
    model = single("SwiGLU", 28, np.zeros((2, 4, 6, 7), F), ir=14)
    assert changed_ops(model.graph, 28, 26) == ("SwiGLU",)
    with pytest.raises(ModelError, match=r"from opset 28 to 26 .*SwiGLU"):
        loadable(model)


def test_changed_ops() -> None:
    assert changed_ops(single("Relu", 20).graph, 20, 26) == ()  # Relu: 1, 6, 13, 14
    assert changed_ops(single("Relu", 12).graph, 12, 26) == ("Relu",)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (single("Hardmax", 12), "node 'it' .Hardmax.: it no longer flattens"),
        (single("GroupNormalization", 18, np.ones(2, F), np.ones(2, F), num_groups=2), "one a group to one a channel"),
        (single("GlobalLpPool", 13), "no kernel for the newer one"),
        (single("ThresholdedRelu", 9), "ThresholdedRelu; onnx says"),
        (single("Resize", 10, np.array([1, 1, 2, 0.5], F)), "enlarges and shrinks at once"),
    ],
)
def test_what_cannot_be_converted_is_said(model: onnx.ModelProto, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        to_opset(model)


def test_other_domains_keep_their_versions() -> None:
    model = single("Relu", 13)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model.graph.node.append(helper.make_node("Gelu", ["y"], ["z"], domain="com.microsoft", name="own"))
    model.graph.output[0].name = "z"
    newest = to_opset(model)
    assert {o.domain: o.version for o in newest.opset_import} == {"": 26, "com.microsoft": 1}
    assert run(newest, image()).tobytes() == run(model, image()).tobytes()
