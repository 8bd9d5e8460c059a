"""Which channel of a layer a stored number belongs to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from onnxfi.graph.layers import Layer, Parameter
from onnxfi.graph.network import Network
from onnxfi.graph.path import find_path
from onnxfi.graph.wiring import Wiring, attribute

Indices = NDArray[np.int64]

_SAME_AXES = frozenset({"Identity", "Dropout", "DequantizeLinear"})
_SPATIAL = frozenset({"Conv", "ConvTranspose", "ConvInteger", "FusedConv", "QLinearConv"})


def channels_of(network: Network, layer: Layer, parameter: Parameter) -> tuple[int, Callable[[Indices], Indices]]:
    """The number of output channels that `parameter` serves, and the channel of each flat index (T,) into it.

    A parameter with no weight's shape (a bias, a scale) has one number a channel.
    """
    elements = max(1, parameter.elements)
    if parameter.role != "weight" or parameter.node != layer.node or len(parameter.shape) < 2:
        return elements, lambda index: index
    node = Wiring(network.model.graph).node[layer.node]
    path = find_path(network.model, parameter.tensor, parameter.path)
    if path is None:
        return parameter.shape[0], lambda index: index // (elements // parameter.shape[0])
    words = np.zeros(1, path.weight.dtype)
    shape = path.weight.shape

    def channel(index: Indices) -> Indices:
        seen, _ = path.follow(index, np.broadcast_to(words, index.shape))
        return _output_channel(node, parameter.slot, np.unravel_index(seen, shape), shape)

    groups = attribute(node, "group", 1) if node.op_type == "ConvTranspose" else 1
    return shape[_axis(node, parameter.slot, len(shape))] * groups, channel


def _output_channel(node: NodeProto, slot: int, where: tuple[Any, ...], shape: tuple[int, ...]) -> Indices:
    own: Indices = where[_axis(node, slot, len(shape))].astype(np.int64)
    if node.op_type != "ConvTranspose":
        return own
    group = where[0] // (shape[0] // attribute(node, "group", 1))
    return np.asarray(group * shape[1] + own, np.int64)


def _axis(node: NodeProto, slot: int, rank: int) -> int:
    """The axis of the weight, as the op reads it, that runs over output channels (in a group, of a ConvTranspose)."""
    if node.op_type == "ConvTranspose":
        return 1
    if node.op_type in _SPATIAL:
        return 0
    if slot == 0:
        return rank - 1 if attribute(node, "transA", 0) else rank - 2
    return rank - 2 if attribute(node, "transB", 0) else rank - 1


def activation_axis(network: Network, layer: Layer, tensor: str) -> int:
    """The axis of `tensor`, the layer's output or the stored word behind its input, that runs over channels.

    1 where the op is spatial, else the last (-1); followed back through transposes. Behind a reshape, where the
    layer's own channels are no axis of what is stored, it is 1.
    """
    axis = 1 if layer.op in _SPATIAL else -1
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
