"""Moving a model to another opset, with all that onnx's converter would lose or get wrong on the way."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, inliner, numpy_helper, version_converter

from onnxfi.errors import ModelError
from onnxfi.graph.tidy import constant_value, name_nodes, set_nodes

NEWEST_OPSET = 26
NEWEST_IR = 13
"""The newest opset and IR version that ONNX Runtime 1.31 loads."""

OWN_IR = 10
"""What a converted model says at least: the first IR version in which nodes have metadata."""

_DEFAULT = ("", "ai.onnx")
_LARGE = 1024
_WRONG = {
    "GroupNormalization": (
        21,
        "its scale went from one a group to one a channel, and the converter does not repeat it",
    ),
    "Hardmax": (13, "it no longer flattens its input, and the converter does not either"),
    "GlobalLpPool": (22, "ONNX Runtime has no kernel for the newer one"),
    "RoiAlign": (22, "ONNX Runtime has no kernel for the newer one"),
}
"""op: the opset at which it changed, and why a model with it cannot be carried across that."""


def opset_of(model: ModelProto) -> int:
    """The version of ONNX's own operators that the model asks for."""
    return max((o.version for o in model.opset_import if o.domain in _DEFAULT), default=1)


def to_opset(model: ModelProto, version: int = NEWEST_OPSET) -> ModelProto:
    """A copy of `model` at opset `version`, its IR version between 10 and 13; `model` is not changed.

    Initializers keep every bit, nodes their metadata (by node name), and other domains their versions. The numbers
    that come out may differ in the last bit: ONNX Runtime sums an AveragePool of opset 19 and newer in another order.
    Raises ModelError, with the ops that are in the way, where the conversion fails or would not compute the same.
    """
    now = opset_of(model)
    copy = ModelProto()
    copy.CopyFrom(model)
    if now != version and (now < version or changed_ops(model.graph, now, version)):
        if copy.functions:  # their bodies have an opset of their own, which must not stay behind
            copy = inliner.inline_local_functions(copy)
        _convert(copy, now, version)
    for entry in copy.opset_import:
        if entry.domain in _DEFAULT:
            entry.version = version
    copy.ir_version = min(max(copy.ir_version, OWN_IR), NEWEST_IR)
    return copy


def loadable(model: ModelProto) -> ModelProto:
    """`model` itself where ONNX Runtime loads its opset and IR version, else a copy brought down to them.

    onnx writes newer numbers by default, mostly with nothing new behind them. Raises ModelError where there is.
    """
    if opset_of(model) > NEWEST_OPSET:
        return to_opset(model)
    if model.ir_version <= NEWEST_IR:
        return model
    copy = ModelProto()
    copy.CopyFrom(model)
    copy.ir_version = NEWEST_IR
    return copy


def changed_ops(graph: GraphProto, version: int, other: int) -> tuple[str, ...]:
    """Ops of the graph (sub-graphs included) that are not one and the same at both opsets, sorted."""
    return tuple(sorted({n.op_type for n in _all_nodes(graph) if _since(n, version) != _since(n, other)}))


def _since(node: NodeProto, version: int) -> int | None:
    if node.domain not in _DEFAULT:
        return 0
    try:
        return int(onnx.defs.get_schema(node.op_type, version, "").since_version)
    except onnx.defs.SchemaError:
        return None


def _all_nodes(graph: GraphProto) -> Iterator[NodeProto]:
    for node in graph.node:
        yield node
        for a in node.attribute:
            for inner in ([a.g] if a.HasField("g") else []) + list(a.graphs):
                yield from _all_nodes(inner)


def _convert(model: ModelProto, now: int, version: int) -> None:
    """Put converted nodes, and what constants they brought, in the place of the model's own."""
    graph = model.graph
    for node in _all_nodes(graph):
        at, why = _WRONG.get(node.op_type, (0, ""))
        if node.domain in _DEFAULT and min(now, version) < at <= max(now, version):
            raise ModelError(_refusal(f"node {node.name!r} ({node.op_type}): {why}", now, version))
    slim = _without_large(model)
    try:
        moved = version_converter.convert_version(slim, version).graph
    except Exception as error:  # whatever the converter's C++ side throws
        ops = ", ".join(changed_ops(graph, now, version)) or "none"
        says = " ".join(str(error).split())[:200]
        raise ModelError(_refusal(f"of its ops these changed: {ops}; onnx says: {says}", now, version)) from error
    if now < 11 <= version:
        _say_how_to_resize(graph, moved)
    _keep_metadata(graph, moved)
    brought, nodes = _constants_apart(graph, moved)
    known = {t.name for t in graph.initializer} | {v.name for v in slim.graph.input}
    graph.initializer.extend(t for t in (*moved.initializer, *brought) if t.name not in known)
    named = all(node.name for node in graph.node)
    set_nodes(graph, nodes)
    del graph.value_info[:]
    graph.value_info.extend(moved.value_info)
    if named:
        name_nodes(model)


def _refusal(why: str, now: int, version: int) -> str:
    return (
        f"the model cannot be converted from opset {now} to {version} ({why}): export it at opset {version} "
        "(a weight's fault can also be baked in, which needs no conversion)"
    )


def _without_large(model: ModelProto) -> ModelProto:
    """The model with its large initializers as mere inputs: the converter reads no more than shapes and axes."""
    slim = ModelProto()
    slim.CopyFrom(model)
    graph = slim.graph
    listed = {v.name for v in graph.input}
    del graph.initializer[:], graph.sparse_initializer[:]
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) < _LARGE:
            graph.initializer.append(tensor)
        elif tensor.name not in listed:
            graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    for sparse in model.graph.sparse_initializer:
        kind = sparse.values.data_type
        graph.input.append(helper.make_tensor_value_info(sparse.values.name, kind, list(sparse.dims)))
    return slim


def _say_how_to_resize(before: GraphProto, moved: GraphProto) -> None:
    """Upsample and Resize up to opset 10 have no coordinate mode; the converter forgets that the new default differs.

    ONNX Runtime rounds down for 'nearest' where it enlarges, up where it shrinks.
    """
    constants = {t.name: t for t in moved.initializer}
    constants |= {
        n.output[0]: v for n in moved.node if n.op_type == "Constant" and (v := constant_value(n)) is not None
    }
    old = {n.output[0] for n in before.node if n.op_type in ("Upsample", "Resize")}
    for node in moved.node:
        if node.op_type != "Resize" or node.output[0] not in old:
            continue
        tensor = constants.get(node.input[2])
        scales = [1.0] if tensor is None else [float(s) for s in numpy_helper.to_array(tensor)]
        if min(scales) < 1 < max(scales):
            raise ModelError(f"node {node.name!r} (Resize) enlarges and shrinks at once, as no newer opset can say")
        node.attribute.append(helper.make_attribute("coordinate_transformation_mode", "asymmetric"))
        node.attribute.append(helper.make_attribute("nearest_mode", "ceil" if min(scales) < 1 else "floor"))


def _keep_metadata(before: GraphProto, moved: GraphProto) -> None:
    """The converter drops what exporters wrote about each node; a name that several nodes share tells nothing."""
    often = Counter(node.name for node in before.node)
    said = {n.name: n for n in before.node if n.name and often[n.name] == 1}
    for node in moved.node:
        if node.name in said:
            del node.metadata_props[:]
            node.metadata_props.extend(said[node.name].metadata_props)


def _constants_apart(before: GraphProto, moved: GraphProto) -> tuple[list[TensorProto], list[NodeProto]]:
    """The Constant nodes that the converter added, as initializers, and the other nodes."""
    own = {name for node in before.node for name in node.output}
    brought: list[TensorProto] = []
    nodes: list[NodeProto] = []
    for node in moved.node:
        value = constant_value(node) if node.op_type == "Constant" and node.output[0] not in own else None
        if value is None:
            nodes.append(node)
        else:
            value.name = node.output[0]
            brought.append(value)
    return brought, nodes
