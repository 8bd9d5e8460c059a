"""Cutting a model: the sub-graph from some tensors to some others.

A *tail* is everything from a cut tensor to the logits. It holds exactly the nodes that depend on the cut and that the
output depends on; whatever else those nodes read (residual links, tensors computed beside the cut) crosses the cut and
becomes an input of the tail as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

Model = onnx.ModelProto
Node = onnx.NodeProto


@dataclass(frozen=True)
class ValueType:
    """What a sub-graph's input or output looks like: ONNX element type and shape (names stand for free dimensions)."""

    elem_type: int
    shape: tuple[int | str, ...]

    @staticmethod
    def of(dtype: np.dtype[Any], shape: tuple[int | str, ...]) -> ValueType:
        """That of an array of NumPy's `dtype`."""
        return ValueType(helper.np_dtype_to_tensor_dtype(dtype), shape)


@dataclass(frozen=True)
class SubGraph:
    """A runnable piece of a model.

    `inputs` are the sources that it reads, in the order asked for; `crossing` what else it needs from outside.
    """

    model: onnx.ModelProto
    inputs: tuple[str, ...]
    crossing: tuple[str, ...]
    nodes: tuple[str, ...]


def sub_graph(
    model: onnx.ModelProto, sources: Sequence[str], outputs: Sequence[str], type_of: Callable[[str], ValueType]
) -> SubGraph:
    """Extract the nodes that depend on `sources` (activations or initializers) and that `outputs` depend on.

    `type_of` gives element type and shape of every activation that becomes an input or output, and raises, with its
    own reason, where the model cannot be cut there.
    The model is not changed; tensors stored as external data keep pointing to the same file.
    """
    constants = _constants(model)
    written = [_value_info(name, _kind(name, constants, type_of)) for name in outputs]
    return _piece(model, _between(model, sources, outputs), sources, written, type_of)


def crossing(model: onnx.ModelProto, sources: Sequence[str], outputs: Sequence[str]) -> tuple[str, ...]:
    """What else the `sub_graph` from `sources` to `outputs` needs from outside, without extracting it."""
    return tuple(name for name in _read(model, _between(model, sources, outputs)) if name not in sources)


def stretch(model: onnx.ModelProto, nodes: Sequence[Node], type_of: Callable[[str], ValueType]) -> SubGraph:
    """The piece that `nodes` of `model`, neighbours in its order, make up: everything that they write is an output.

    `type_of` as for `sub_graph`, of inputs alone (types of the outputs are left to the runtime's inference).
    """
    written = [onnx.ValueInfoProto(name=name) for node in nodes for name in node.output if name]
    return _piece(model, nodes, (), written, type_of)


def _between(model: onnx.ModelProto, sources: Sequence[str], outputs: Sequence[str]) -> list[Node]:
    """The nodes that depend on `sources` and that `outputs` depend on, in the model's order."""
    below = set(sources)
    for node in model.graph.node:
        if below.intersection(node.input):
            below.update(name for name in node.output if name)
    needed, kept = set(outputs), []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output) and below.intersection(node.input):
            kept.append(node)
            needed.update(name for name in node.input if name)
    return kept[::-1]


def _read(model: onnx.ModelProto, nodes: Sequence[Node]) -> tuple[str, ...]:
    """The activations that `nodes` read and do not write."""
    known = {name for node in nodes for name in node.output} | _constants(model).keys()
    return _in_order(name for node in nodes for name in node.input if name and name not in known)


def _piece(
    model: onnx.ModelProto,
    nodes: Sequence[Node],
    sources: Sequence[str],
    outputs: Sequence[onnx.ValueInfoProto],
    type_of: Callable[[str], ValueType],
) -> SubGraph:
    constants = _constants(model)
    read = _in_order(name for node in nodes for name in node.input)
    asked = {*read, *(value.name for value in outputs)}
    inputs = tuple(name for name in sources if name in asked)
    others = tuple(name for name in _read(model, nodes) if name not in inputs)
    piece = helper.make_graph(
        nodes,
        "sub-graph",
        [_value_info(name, _kind(name, constants, type_of)) for name in (*inputs, *others)],
        outputs,
        [constants[name] for name in read if name in constants and name not in inputs],
    )
    return SubGraph(wrap(piece, model), inputs, others, tuple(node.name for node in nodes))


def _constants(model: onnx.ModelProto) -> dict[str, TensorProto]:
    return {tensor.name: tensor for tensor in model.graph.initializer}


def _kind(name: str, constants: Mapping[str, TensorProto], type_of: Callable[[str], ValueType]) -> ValueType:
    tensor = constants.get(name)
    return ValueType(tensor.data_type, tuple(tensor.dims)) if tensor is not None else type_of(name)


def with_outputs(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """The whole model with `names` as its outputs (their types are left to the runtime's inference)."""
    graph = onnx.GraphProto()
    graph.CopyFrom(model.graph)
    del graph.output[:]
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return wrap(graph, model)


def activations(model: onnx.ModelProto) -> tuple[str, ...]:
    """Every tensor that a node writes, in order."""
    return _in_order(name for node in model.graph.node for name in node.output if name)


def wrap(graph: onnx.GraphProto, like: onnx.ModelProto) -> onnx.ModelProto:
    """A model around `graph` with the opsets, IR version and local functions of `like`."""
    return helper.make_model(
        graph, opset_imports=like.opset_import, ir_version=like.ir_version, functions=like.functions
    )


def int_attribute(node: onnx.NodeProto, name: str, default: int = 0) -> int:
    """The integer attribute `name` of `node`, or `default`."""
    return next((int(a.i) for a in node.attribute if a.name == name), default)


def ints_attribute(node: onnx.NodeProto, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    """The integers of attribute `name` of `node`, or `default`."""
    return next((tuple(a.ints) for a in node.attribute if a.name == name), default)


def _value_info(name: str, kind: ValueType) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind.elem_type, list(kind.shape))


def _in_order(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
