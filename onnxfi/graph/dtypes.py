"""Types and shapes of every tensor as far as they can be told, also behind ops that onnx does not know."""

from __future__ import annotations

import math

from onnx import ModelProto, NodeProto, TensorProto, TypeProto, helper, shape_inference

_SMALL = 1024


def inferred(model: ModelProto) -> dict[str, TypeProto]:
    """Type of each tensor of the main graph, with the shape where it can be told.

    onnx's inference goes first; large constants take part by shape only. An op that it does not know (com.microsoft)
    writes what its output's zero point says where its name begins with QLinear, else what its first input is.
    """
    slim = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
    graph = slim.graph
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    listed = {v.name for v in graph.input}
    stored: dict[str, TypeProto] = {}
    for tensor in model.graph.initializer:
        stored[tensor.name] = helper.make_tensor_type_proto(tensor.data_type, list(tensor.dims))
        if math.prod(tensor.dims) < _SMALL:
            graph.initializer.append(tensor)  # shapes, axes, bounds, scales: inference reads them
        elif tensor.name not in listed:
            graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    while True:
        types = _infer(slim) | stored
        guessed = _guess(model, {name: t.tensor_type.elem_type for name, t in types.items()})
        if not guessed:
            return types
        graph.value_info.extend(helper.make_tensor_value_info(name, kind, None) for name, kind in guessed.items())


def element_types(model: ModelProto) -> dict[str, int]:
    """TensorProto data type of each tensor of the main graph, as `inferred` tells it."""
    return {name: t.tensor_type.elem_type for name, t in inferred(model).items()}


def _infer(model: ModelProto) -> dict[str, TypeProto]:
    try:
        graph = shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception:  # inference is a help; the runtime may well know what it does not
        graph = model.graph
    values = (*graph.value_info, *graph.input, *graph.output)
    return {v.name: v.type for v in values if v.type.tensor_type.elem_type}


def _guess(model: ModelProto, types: dict[str, int]) -> dict[str, int]:
    """Types of the outputs of those nodes that inference stopped at: their inputs are known, their outputs are not."""
    guessed: dict[str, int] = {}
    for node in model.graph.node:
        unknown = [name for name in node.output if name and name not in types]
        if unknown and node.input and node.input[0] and all(not name or name in types for name in node.input):
            guessed.update(dict.fromkeys(unknown, types[_telling(node, types)]))
    return guessed


def _telling(node: NodeProto, types: dict[str, int]) -> str:
    """The input that has the type of the node's outputs."""
    if node.op_type.startswith("QLinear"):
        eight = [n for n in node.input[1:] if types.get(n) in (TensorProto.INT8, TensorProto.UINT8)]
        return str(eight[-1] if eight else node.input[0])
    return str(node.input[0])
