"""float16 rounded at each node: ONNX Runtime computes chains in float32 otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from corpus import CASES, images, select
from onnx import TensorProto, helper, numpy_helper

from onnxfi.graph.barrier import LABEL, add_barriers, needs_barriers
from onnxfi.graph.nan_safe import make_nan_safe
from onnxfi.graph.opset import to_opset

Array = np.ndarray[Any, Any]
LEVELS = [ort.GraphOptimizationLevel.ORT_DISABLE_ALL, ort.GraphOptimizationLevel.ORT_ENABLE_ALL]


def run(model: onnx.ModelProto, fed: dict[str, Array], level: Any = LEVELS[0]) -> list[Array]:
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.disable_prepacking", "1")
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(v) for v in session.run(None, fed)]


def chain(opset: int) -> tuple[onnx.ModelProto, Array, Array]:
    """y = sqrt(|x * a + b|) * c + d in float16, x, and y by numpy: each step in float32, then rounded."""
    numbers = [np.float16(n) for n in (0.7, 0.3, 1.9, 0.11)]
    names = "abcd"
    steps = [("Mul", "a"), ("Add", "b"), ("Abs", ""), ("Sqrt", ""), ("Mul", "c"), ("Add", "d")]
    nodes, current = [], "x"
    for i, (op, other) in enumerate(steps):
        out = "y" if i == len(steps) - 1 else f"t{i}"
        nodes.append(helper.make_node(op, [current, *other], [out], name=f"n{i}"))
        current = out
    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT16, ["n"]) for n in "xy"]
    stored = [numpy_helper.from_array(np.array(v), n) for n, v in zip(names, numbers, strict=True)]
    graph = helper.make_graph(nodes, "g", value[:1], value[1:], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=4)
    x = np.random.default_rng(0).standard_normal(512).astype(np.float16)
    held, wide = dict(zip(names, numbers, strict=True)), x
    for op, other in steps:
        before = wide.astype(np.float32)
        with_other = np.float32(held[other]) if other else np.float32(0)
        after = {"Mul": before * with_other, "Add": before + with_other, "Abs": np.abs(before)}
        wide = (np.sqrt(before) if op == "Sqrt" else after[op]).astype(np.float16)
    return model, x, wide


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("opset", [9, 17, 26])
def test_chain_is_rounded_at_each_node(opset: int, level: Any) -> None:
    model, x, by_hand = chain(opset)
    assert needs_barriers(model)
    plain = run(to_opset(model), {"x": x}, level)[0]
    assert (plain != by_hand).mean() > 0.1  # the trap is real: two thirds of them when this was measured
    guarded = add_barriers(model)
    onnx.checker.check_model(guarded, full_check=True)
    assert run(guarded, {"x": x}, level)[0].tobytes() == by_hand.tobytes()
    assert add_barriers(guarded).SerializeToString() == guarded.SerializeToString()


@pytest.mark.parametrize("name", select("float16"))
def test_each_node_alone_gives_the_same_bits(name: str) -> None:
    """Every tensor of the guarded model is what its node computes when run by itself on rounded float16 inputs."""
    case = CASES[name]
    model, x = to_opset(case.model()), images(case, 4)
    guarded = add_barriers(model)
    written = [o for n in model.graph.node for o in n.output]
    assert set(written) <= {o for n in guarded.graph.node for o in n.output}
    del guarded.graph.output[:]
    guarded.graph.output.extend(onnx.ValueInfoProto(name=o) for o in written)
    image = model.graph.input[0].name
    values = {image: x, **dict(zip(written, run(guarded, {image: x}), strict=True))}
    for node in model.graph.node:
        fed = {n: values[n] for n in node.input if n in values}
        inputs = [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), list(v.shape))
            for n, v in fed.items()
        ]
        stored = [t for t in model.graph.initializer if t.name in node.input]
        outputs = [onnx.ValueInfoProto(name=o) for o in node.output]
        graph = helper.make_graph([node], "alone", inputs, outputs, stored)
        alone = helper.make_model(graph, opset_imports=model.opset_import, ir_version=10)
        for output, value in zip(node.output, run(alone, fed), strict=True):
            assert value.tobytes() == values[output].tobytes(), (node.op_type, output)


def test_what_only_moves_words_needs_none() -> None:
    """Nor does a model that computes in float32, whatever it stores."""
    kind = TensorProto.FLOAT16
    nodes = [
        helper.make_node("Transpose", ["w"], ["t"], name="turn", perm=[1, 0]),
        helper.make_node("Identity", ["t"], ["y"], name="same"),
    ]
    w = numpy_helper.from_array(np.ones((2, 3), np.float16), "w")
    graph = helper.make_graph(nodes, "g", [], [helper.make_tensor_value_info("y", kind, [3, 2])], [w])
    moves = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    assert not needs_barriers(moves)
    assert len(add_barriers(moves).graph.node) == 2
    assert not needs_barriers(CASES["weight_float16"].model())


def test_together_with_nan_safe() -> None:
    """In either order: the same logits, and a NaN arrives."""
    case = CASES["float16_inside"]
    model, x = case.model(), images(case, 4)
    image = model.graph.input[0].name
    one, other = add_barriers(make_nan_safe(model)), make_nan_safe(add_barriers(model))
    for each in (one, other):
        onnx.checker.check_model(each, full_check=True)
    assert run(one, {image: x})[0].tobytes() == run(other, {image: x})[0].tobytes()
    x[0, 0, 0, 0] = np.nan
    assert np.isnan(run(one, {image: x})[0][0]).all()
    assert np.isnan(run(other, {image: x})[0][0]).all()
    assert any(f"/{LABEL}/" in n.name for n in other.graph.node)
