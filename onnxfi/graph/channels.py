"""Which channel of a layer a stored number belongs to, as arithmetic on its flat index."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from onnxfi.graph.layers import Layer, Parameter
from onnxfi.graph.network import Network
from onnxfi.graph.path import find_path
from onnxfi.graph.wiring import Wiring, attribute

_SAME_AXES = frozenset({"Identity", "Dropout", "DequantizeLinear"})
_SPATIAL = frozenset({"Conv", "ConvTranspose", "ConvInteger", "FusedConv", "QLinearConv"})


@dataclass(frozen=True)
class Channels:
    """The channel of flat index i is the sum of (i // stride % size) * factor over `terms`; there are `count`."""

    count: int = 1
    terms: tuple[tuple[int, int, int], ...] = ()

    def of(self, index: NDArray[Any]) -> NDArray[np.int64]:
        """Channels, int64 (T,), of flat indices (T,)."""
        place = np.asarray(index).astype(np.int64)
        channel = np.zeros_like(place)
        for stride, size, factor in self.terms:
            channel += place // stride % size * factor
        return channel

    @classmethod
    def along(cls, shape: Sequence[int], axis: int) -> Channels:
        """Channels along one axis of a tensor of this shape; one channel where it has no such axis."""
        if not -len(shape) <= axis < len(shape):
            return cls()
        axis %= len(shape)
        return cls(shape[axis], ((math.prod(shape[axis + 1 :]), shape[axis], 1),))


def parameter_channels(network: Network, layer: Layer, parameter: Parameter) -> Channels:
    """The output channels that the stored numbers of `parameter` serve.

    What is no weight (a bias, a scale) has one number a channel. One channel for all where a weight is computed from
    its stored form by more than moving words.
    """
    if parameter.role != "weight" or parameter.node != layer.node:
        return Channels.along((parameter.elements,), 0)
    path = find_path(network.model, parameter.tensor, parameter.path)
    if path is None or len(path.shapes[-1]) < 2:
        return Channels()
    node = Wiring(network.model.graph).node[layer.node]
    found = _of_weight(node, parameter.slot, path.shapes[-1])
    for step, before, after in reversed(list(zip(path.nodes, path.shapes, path.shapes[1:], strict=False))):
        if step.op_type == "Transpose":
            found = _before_transpose(found, _order(step, len(before)), before, after)
    return found


def _of_weight(node: NodeProto, slot: int, shape: tuple[int, ...]) -> Channels:
    """Output channels of the weight as the op reads it."""
    if node.op_type == "ConvTranspose":
        groups = attribute(node, "group", 1)
        within = math.prod(shape[1:])
        outer = (within * (shape[0] // groups), groups, shape[1])
        return Channels(shape[1] * groups, (outer, (within // shape[1], shape[1], 1)))
    if node.op_type in _SPATIAL:
        return Channels.along(shape, 0)
    turned = attribute(node, "transA" if slot == 0 else "transB", 0)
    return Channels.along(shape, -1 if bool(turned) == (slot == 0) else -2)


def _order(node: NodeProto, rank: int) -> tuple[int, ...]:
    return next((tuple(a.ints) for a in node.attribute if a.name == "perm"), tuple(reversed(range(rank))))


def _before_transpose(
    channels: Channels, order: Sequence[int], before: Sequence[int], after: Sequence[int]
) -> Channels:
    """The same channels, on the index before a transpose; one channel where they are no axis of it."""
    if len(channels.terms) != 1:
        return Channels()
    stride, size, _ = channels.terms[0]
    for axis in range(len(after)):
        if (math.prod(after[axis + 1 :]), after[axis]) == (stride, size):
            return Channels.along(before, order[axis])
    return Channels()


def activation_axis(network: Network, layer: Layer, tensor: str) -> int:
    """The axis of `tensor`, the layer's output or the stored word behind its input, that runs over channels.

    1 where the op is spatial, else the last, or the one before where the weight stands first (W @ x); followed back
    through transposes. Behind a reshape, where the layer's own channels are no axis of what is stored, it is 1.
    """
    first = layer.weight is not None and layer.weight.node == layer.node and layer.weight.slot == 0
    axis = 1 if layer.op in _SPATIAL else -2 if first else -1
    if tensor == layer.output:
        return axis
    wiring = Wiring(network.model.graph)
    at = layer.input
    while at != tensor:
        node = wiring.producer[at]
        if node.op_type == "Transpose":
            order = next((tuple(a.ints) for a in node.attribute if a.name == "perm"), None)
            axis = order[axis] if order else -1 - axis
        elif node.op_type not in _SAME_AXES:
            axis = 1
        at = node.input[0]
    return axis
