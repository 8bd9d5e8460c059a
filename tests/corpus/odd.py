"""Names that look like something else, and models that must be refused."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import onnx
from onnx import helper

from .build import Build
from .case import CLASSES, case, enter

# case -> (about, what the names become: a function of an ordinal)
NAMES = {
    "names_html": ("HTML", "<script>alert({})</script>"),
    "names_paths": ("paths that climb", "../../etc/passwd{}"),
    "names_absolute": ("absolute paths", "/etc/shadow/{}"),
    "names_unicode": ("other scripts, spaces, quotes, a line break", 'слой "{}"\n層 🧠'),
    "names_spec": ("the syntax of a fault", "a{}[0,0]:flip@30,b"),
    "names_csv": ("commas, quotes and a formula", '=cmd|"{}",;'),
    "names_long": ("300 characters", "x" * 297 + "{:03}"),
}


def _renamed(name: str, pattern: str) -> onnx.ModelProto:
    b = Build(name)
    x = b.op("Relu", b.norm(b.conv(b.image, 3, 4, name="conv", bias=True), 4, "norm"))
    model = b.head(b.op("Relu", b.conv(x, 4, 4, name="conv2")), 4)
    table: dict[str, str] = {}

    def new(old: str) -> str:
        return table.setdefault(old, pattern.format(len(table))) if old else old

    graph = model.graph
    graph.name = new("graph")
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = new(value.name)
    for node in graph.node:
        node.name = new(f"node {node.name}")
        node.input[:] = [new(n) for n in node.input]
        node.output[:] = [new(n) for n in node.output]
    model.producer_name = pattern.format("producer")
    helper.set_model_props(model, {pattern.format("key"): pattern.format("value")})
    return model


for _name, (_about, _pattern) in NAMES.items():
    enter(_name, f"Every name is like {_about}", partial(_renamed, _name, _pattern), 3, ["names"])


@case(3, "names")
def names_empty() -> onnx.ModelProto:
    """No node has a name, initializers are numbers (old PyTorch)"""
    model = _renamed("names_empty", "{}")
    for node in model.graph.node:
        node.name = ""
    return model


@case(3, "names")
def names_alike() -> onnx.ModelProto:
    """Nodes are called like tensors, and not their own"""
    model = _renamed("names_alike", "t{}")
    for node, other in zip(model.graph.node, reversed(model.graph.node), strict=True):
        node.name = other.output[0]
    return model


@case(2, "leftovers")
def leftovers() -> onnx.ModelProto:
    """What exporters leave behind: an initializer and a node that nobody reads, one batch counter, value infos"""
    b = Build("leftovers")
    b.keep(np.array(7, np.int64), "norm.num_batches_tracked")
    b.keep(b.normal(4, 4), "old.weight")
    x = b.norm(b.conv(b.image, 3, 4, name="conv"), 4, "norm")
    b.op("Conv", x, b.keep(b.filters(2, 4, 1, 1), "dead.weight"), name="/dead/Conv")
    return onnx.shape_inference.infer_shapes(b.head(b.op("Relu", x), 4))


@case(2, "extremes")
def extreme_weights() -> onnx.ModelProto:
    """Weights that are zero, minus zero, denormal, tiny and large"""
    b = Build("extreme_weights")
    weight = b.filters(4, 3, 3, 3)
    special = np.array([0.0, -0.0, 1e-45, -1e-40, 1e-38, 1e-30, 100.0, -100.0], np.float32)
    weight.reshape(-1)[:: weight.size // special.size][: special.size] = special
    x = b.op("Conv", b.image, b.keep(weight, "conv.weight"), name="/conv/Conv", pads=[1, 1, 1, 1])
    return b.head(b.op("Relu", x), 4)


@case(3, "contrib")
def contrib_ops() -> onnx.ModelProto:
    """Ops of com.microsoft, as an optimised file holds them: FusedConv, Gelu"""
    b = Build("contrib_ops", opset=17)
    b.domains["com.microsoft"] = 1
    w, c = b.keep(b.filters(4, 3, 3, 3), "conv.weight"), b.keep(b.normal(4), "conv.bias")
    more: dict[str, Any] = {"pads": [1, 1, 1, 1], "activation": "Relu", "domain": "com.microsoft"}
    x = b.ops("FusedConv", b.image, w, c, outputs=1, name="/conv/FusedConv", **more)[0]
    x = b.ops("Gelu", b.conv(x, 4, 4, name="conv2"), outputs=1, domain="com.microsoft")[0]
    return b.head(x, 4)


@case(2, "refused", "control-flow")
def flow_if() -> onnx.ModelProto:
    """If: two dense layers to choose from"""
    b = Build("flow_if")
    x = b.op("Flatten", b.op("GlobalAveragePool", b.op("Relu", b.conv(b.image, 3, 4, name="conv"))), output="features")
    b.keep(b.normal(4, CLASSES), "then.kernel")
    b.keep(b.normal(4, CLASSES), "else.kernel")
    size = b.op("Gather", b.op("Shape", x), b.keep(np.array(1, np.int64)), axis=0)
    branches = {}
    for branch in ("then", "else"):
        node = helper.make_node("MatMul", ["features", f"{branch}.kernel"], [f"{branch}_out"], name=f"/{branch}/MatMul")
        value = helper.make_tensor_value_info(f"{branch}_out", onnx.TensorProto.FLOAT, ["N", CLASSES])
        branches[f"{branch}_branch"] = helper.make_graph([node], branch, [], [value])
    return b.model(b.op("If", b.op("Greater", size, b.keep(np.array(2, np.int64))), name="/If", **branches))


@case(2, "refused", "control-flow")
def flow_loop() -> onnx.ModelProto:
    """Loop: a dense layer applied three times"""
    b = Build("flow_loop", shape=(4,))
    b.keep(b.normal(4, 4, scale=0.5), "step.kernel")
    boolean, floats, whole = onnx.TensorProto.BOOL, onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
    nodes = [
        helper.make_node("MatMul", ["state", "step.kernel"], ["product"], name="/step/MatMul"),
        helper.make_node("Tanh", ["product"], ["state_out"]),
        helper.make_node("Identity", ["go"], ["go_out"]),
    ]
    value = helper.make_tensor_value_info
    inputs = [value("i", whole, []), value("go", boolean, []), value("state", floats, ["N", 4])]
    outputs = [value("go_out", boolean, []), value("state_out", floats, ["N", 4])]
    body = helper.make_graph(nodes, "body", inputs, outputs)
    x = b.op("Loop", b.keep(np.array(3, np.int64)), b.keep(np.array(True)), b.image, name="/Loop", body=body)
    return b.model(b.dense(x, 4))


@case(2, "refused", "random")
def random_noise() -> onnx.ModelProto:
    """RandomNormalLike: no two runs agree, so that no golden answer exists"""
    b = Build("random_noise")
    x = b.op("Relu", b.conv(b.image, 3, 4, name="conv", bias=True))
    return b.head(b.op("Add", x, b.op("RandomNormalLike", x)), 4)


@case(0, "refused", "no-layers")
def no_layers() -> onnx.ModelProto:
    """Nothing that holds a weight"""
    b = Build("no_layers", shape=(5, 8, 8))
    return b.model(b.op("Flatten", b.op("GlobalAveragePool", b.image)))


@case(2, "refused", "two-inputs")
def two_inputs() -> onnx.ModelProto:
    """A second input that nothing gives a value to"""
    b = Build("two_inputs")
    model = b.head(b.op("Mul", b.conv(b.image, 3, 4, name="conv"), "temperature"), 4)
    model.graph.input.append(helper.make_tensor_value_info("temperature", onnx.TensorProto.FLOAT, [1]))
    return model
