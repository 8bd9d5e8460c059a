"""Folding of shape and constant arithmetic, with onnx's own reference evaluator, and of nothing else.

A node is folded when all it reads is constant and none of it is a stored word that a fault could hit: integers of
shapes and axes, single floats, and what was folded from them. A stored weight, bias or BatchNormalization parameter
stays as the file has it, with the Transpose, Reshape, Cast or DequantizeLinear it goes through, so that its words keep
their place and their bits; only its Shape and Size are taken.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, TypeProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from onnxfi.graph.tidy import set_nodes
from onnxfi.graph.wiring import Wiring

EXACT = frozenset({
    "Abs", "Add", "And", "Cast", "CastLike", "Ceil", "Clip", "Concat", "Constant", "ConstantOfShape", "Div",
    "Equal", "Expand", "Flatten", "Floor", "Gather", "GatherElements", "GatherND", "Greater", "GreaterOrEqual",
    "Identity", "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul", "Neg", "NonZero", "Not", "OneHot", "Or",
    "Pad", "Range", "Reciprocal", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum", "Reshape", "Round",
    "ScatterElements", "ScatterND", "Shape", "Sign", "Size", "Slice", "Split", "Sqrt", "Squeeze", "Sub", "Tile",
    "Transpose", "Trilu", "Unsqueeze", "Where", "Xor",
})  # fmt: skip
"""Ops whose result has one right value to the bit, whoever computes it."""

GROWS = frozenset({"ConstantOfShape", "Expand", "Tile", "Range", "Pad", "OneHot"})
LARGEST = 2**27
"""Most elements a folded tensor may have; larger ones are left to the run."""


def fold(model: ModelProto, types: Mapping[str, TypeProto]) -> tuple[str, ...]:
    """Fold the model's shape and constant arithmetic into initializers; returns the names of those made.

    `types` is what inference knows of the tensors. The nodes must be sorted. A node that the evaluator cannot run is
    left as it is: it will run with the model.
    """
    graph = model.graph
    opsets = {o.domain: o.version for o in model.opset_import}
    stored = {t.name: t for t in graph.initializer}
    shapes = {name: dims for name in Wiring(graph).constant if (dims := _whole_shape(types.get(name))) is not None}
    shapes |= {name: list(t.dims) for name, t in stored.items()}
    arithmetic = {name for name, t in stored.items() if not is_word(t)}
    outputs = {v.name for v in graph.output}
    folded: list[str] = []
    kept: list[NodeProto] = []
    for node in graph.node:
        values = _fold_node(node, opsets, stored, shapes, arithmetic, types) if not outputs & set(node.output) else None
        if values is None:
            kept.append(node)
            continue
        folded.extend(node.output)
        for name, value in zip(node.output, values, strict=True):
            tensor = numpy_helper.from_array(np.asarray(value), name)
            stored[name] = tensor
            shapes[name] = list(tensor.dims)
            arithmetic.add(name)
            graph.initializer.append(tensor)
    if folded:
        set_nodes(graph, kept)
    return tuple(folded)


def _whole_shape(type_: TypeProto | None) -> list[int] | None:
    """The shape where inference knows all of it."""
    if type_ is None or not type_.tensor_type.HasField("shape"):
        return None
    dims = type_.tensor_type.shape.dim
    return [d.dim_value for d in dims] if all(d.HasField("dim_value") for d in dims) else None


def is_word(tensor: TensorProto) -> bool:
    """Whether a fault could hit the tensor: more than one float, or integers of fewer than 64 bits (quantised)."""
    integers = (TensorProto.INT64, TensorProto.UINT64, TensorProto.BOOL, TensorProto.STRING)
    return int(np.prod(tensor.dims, dtype=object)) > 1 and tensor.data_type not in integers


def _fold_node(
    node: NodeProto,
    opsets: dict[str, int],
    stored: dict[str, TensorProto],
    shapes: dict[str, list[int]],
    arithmetic: set[str],
    types: Mapping[str, TypeProto],
) -> list[NDArray[np.generic]] | None:
    if node.domain not in ("", "ai.onnx") or node.op_type not in EXACT or "" in node.output:
        return None
    if node.op_type in ("Shape", "Size") and node.input[0] in shapes:
        dims = shapes[node.input[0]]
        fed: list[NDArray[np.generic]] = [np.broadcast_to(np.zeros((), np.uint8), dims)]
    elif node.op_type == "CastLike" and node.input[0] in arithmetic and node.input[1] in types:
        like = helper.tensor_dtype_to_np_dtype(types[node.input[1]].tensor_type.elem_type)
        fed = [numpy_helper.to_array(stored[node.input[0]]), np.zeros((), like)]
    elif all(not name or name in arithmetic for name in node.input):
        fed = [numpy_helper.to_array(stored[name]) for name in node.input if name]
        if node.op_type in GROWS and _grown(node, fed) > LARGEST:
            return None
    else:
        return None
    names = list(dict.fromkeys(name for name in node.input if name))
    feeds = dict(zip([name for name in node.input if name], fed, strict=True))
    graph = helper.make_graph(
        [node],
        "fold",
        [helper.make_empty_tensor_value_info(name) for name in names],
        [helper.make_empty_tensor_value_info(name) for name in node.output],
    )
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    try:
        with np.errstate(all="ignore"):
            made = ReferenceEvaluator(helper.make_model(graph, opset_imports=imports)).run(None, feeds)
    except Exception:  # the evaluator raises whatever its ops raise, and none of it says that the model is bad
        return None
    values = [np.asarray(value) for value in made]
    return values if all(v.dtype != object and v.size <= LARGEST for v in values) else None


def _grown(node: NodeProto, fed: list[NDArray[np.generic]]) -> float:
    """An upper bound of the elements the node will make, before it makes them."""
    if node.op_type == "Range":
        start, limit, delta = (float(v) for v in fed)
        return abs((limit - start) / delta) if delta else 0.0
    size = float(fed[0].size) if node.op_type != "ConstantOfShape" else 1.0
    sizes = fed[0] if node.op_type == "ConstantOfShape" else fed[1] if len(fed) > 1 else np.ones(1)
    if node.op_type == "Pad":
        return float(np.prod(np.array(fed[0].shape, float) + np.abs(np.asarray(sizes, float)).sum()))
    return size * float(np.prod(np.maximum(np.asarray(sizes, float), 1.0)))
