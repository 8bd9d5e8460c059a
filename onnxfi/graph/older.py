"""A model as tools read it that know old opsets only: a copy that computes the same on finite numbers."""

from __future__ import annotations

from onnx import ModelProto, NodeProto, numpy_helper

from onnxfi.graph.nan_safe import LABEL
from onnxfi.graph.opset import to_opset
from onnxfi.graph.tidy import set_nodes


def older(model: ModelProto, opset: int) -> ModelProto:
    """A copy at `opset`, with plain pools in the place of NaN-safe ones, and no Reshape that says how it would read a
    zero where it reads none. Raises ModelError where the model cannot be brought there."""
    copy = to_opset(without_nan_safety(model), opset)
    shapes = {tensor.name: tensor for tensor in copy.graph.initializer}
    for node in copy.graph.node:
        stored = shapes.get(node.input[1]) if node.op_type == "Reshape" else None
        if stored is not None and 0 not in numpy_helper.to_array(stored):
            kept = [a for a in node.attribute if a.name != "allowzero"]
            del node.attribute[:]
            node.attribute.extend(kept)
    return copy


def without_nan_safety(model: ModelProto) -> ModelProto:
    """A copy with pools as they were before `onnxfi.graph.nan_safe.make_nan_safe`."""
    copy = ModelProto()
    copy.CopyFrom(model)
    nodes: list[NodeProto] = []
    for node in copy.graph.node:
        tensor, ours, part = node.output[0].partition(f"/{LABEL}/") if node.output else ("", "", "")
        if part == "plain":
            node.output[0] = tensor
        elif ours or f"/{LABEL}/" in node.name:
            continue
        nodes.append(node)
    set_nodes(copy.graph, nodes)
    return copy
