"""The channelwise chain: the nodes after a layer that keep a wrong channel to itself.

A faulty filter makes one output channel wrong. BatchNormalization, ReLU, a residual addition and the like pass that
channel on without touching its neighbours, so the faulty channel alone can be followed through them: cheaper than the
whole tensor, and a fault that dies in the ReLU needs no tail at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from onnxfi.graph.outside import values

_UNARY = {"Relu", "LeakyRelu", "Identity", "BitCast", "Neg", "Abs"}
_BINARY = {"Add", "Sub", "Mul", "Div"}


@dataclass(frozen=True)
class Operand:
    """What a link reads beside the wrong channel.

    kind 'parameter': a constant with one value a channel; 'golden': an activation of the wrong tensor's own shape;
    'fixed': a constant that is the same for every channel.
    """

    slot: int
    tensor: str
    kind: str


@dataclass(frozen=True)
class Link:
    """One node of the chain: the wrong channel enters at `slot`, `operands` are all its other inputs."""

    node: onnx.NodeProto
    slot: int
    operands: tuple[Operand, ...]


@dataclass(frozen=True)
class Chain:
    """From the tensor `start`, which the layer's op writes, to `end`, where tails begin. All have `start`'s shape."""

    start: str
    end: str
    links: tuple[Link, ...]

    @property
    def parameters(self) -> tuple[str, ...]:
        """The per-channel constants met on the way, in order."""
        return tuple(o.tensor for link in self.links for o in link.operands if o.kind == "parameter")

    @property
    def golden(self) -> tuple[str, ...]:
        """The other activations met on the way, in order."""
        return tuple(o.tensor for link in self.links for o in link.operands if o.kind == "golden")


def channel_chain(
    model: onnx.ModelProto, start: str, output: str, shapes: Mapping[str, tuple[int, ...]], axis: int
) -> Chain:
    """Follow `start` as far as channels stay apart, but not past the model's `output`.

    `shapes`: row shapes (one image, batch on axis 0 left out) of the activations whose batch axis is their first;
    `axis`: the channel axis in those shapes.
    """
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in set(node.input):
            readers.setdefault(name, []).append(node)
    constants = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    end, links = start, []
    while end != output and len(readers.get(end, ())) == 1:
        node = readers[end][0]
        link = _link(node, end, constants, shapes, axis)
        if link is None or shapes.get(node.output[0]) != shapes[start]:
            break
        links.append(link)
        end = node.output[0]
    return Chain(start, end, tuple(links))


def _link(
    node: onnx.NodeProto,
    tensor: str,
    constants: Mapping[str, tuple[int, ...]],
    shapes: Mapping[str, tuple[int, ...]],
    axis: int,
) -> Link | None:
    if list(node.input).count(tensor) != 1 or sum(bool(name) for name in node.output) != 1:
        return None
    slot = list(node.input).index(tensor)
    if node.domain not in ("", "ai.onnx"):
        return None
    row = shapes[tensor]
    others = [(i, name) for i, name in enumerate(node.input) if name and i != slot]
    if node.op_type in _UNARY:
        return Link(node, slot, ())
    if node.op_type == "Clip" and slot == 0 and all(name in constants for _, name in others):
        return Link(node, slot, tuple(Operand(i, name, "fixed") for i, name in others))
    if node.op_type == "BatchNormalization" and slot == 0 and axis == 0 and all(n in constants for _, n in others):
        return Link(node, slot, tuple(Operand(i, name, "parameter") for i, name in others))
    if node.op_type in _BINARY and len(others) == 1 and not _old_broadcast(node):
        (i, name), operand = others[0], None
        if name in constants:
            operand = _constant_operand(i, name, constants[name], row, axis)
        elif shapes.get(name) == row:
            operand = Operand(i, name, "golden")
        return Link(node, slot, (operand,)) if operand else None
    return None


def _constant_operand(slot: int, name: str, dims: tuple[int, ...], row: tuple[int, ...], axis: int) -> Operand | None:
    if all(d == 1 for d in dims) and len(dims) <= len(row) + 1:
        return Operand(slot, name, "fixed")
    whole = (1,) * (len(row) + 1 - len(dims)) + dims
    own = len(whole) == len(row) + 1 and whole[axis + 1] == row[axis]
    if own and all(d == 1 for i, d in enumerate(whole) if i != axis + 1):
        return Operand(slot, name, "parameter")
    return None


def _old_broadcast(node: onnx.NodeProto) -> bool:
    return any(attribute.name in ("broadcast", "axis") for attribute in node.attribute)


def constant(model: onnx.ModelProto, name: str) -> np.ndarray[Any, Any]:
    """The value of the initializer `name`."""
    for tensor in model.graph.initializer:
        if tensor.name == name:
            return values(tensor)
    raise KeyError(name)
