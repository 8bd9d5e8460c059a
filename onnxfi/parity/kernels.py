"""The weights of a network in a form in which two exporters' files can be compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.engine.probe import Probe, Rows
from onnxfi.graph.affine import Affine, Constants, affine
from onnxfi.graph.cut import int_attribute
from onnxfi.graph.layers import Layer, Parameter
from onnxfi.graph.network import Network
from onnxfi.graph.path import find_path
from onnxfi.parity.arrange import Arrangement, transpose

Array = NDArray[Any]


@dataclass(frozen=True)
class Kernel:
    """One layer's weight, output channel first: OIHW of a convolution, (out, in) of Gemm and MatMul.

    stored    the initializer that the words of the weight lie in
    weight    as the op reads it, output channel first; float32, or float64 where that is stored
    steps     from the stored words to `weight`; None where words cannot be followed one by one
    affine    the channelwise arithmetic after the layer
    row       shape of one image of the activation that the layer reads, behind what only moves it
    """

    layer: Layer
    stored: Parameter
    weight: Array
    steps: tuple[Arrangement, ...] | None
    affine: Affine
    row: tuple[int, ...]

    @property
    def effective(self) -> Array:
        """What the layer really multiplies by, float64: the weight with the channels' scales."""
        axis, scale = _channel_axis(self.layer, self.weight), self.affine.scale
        if scale.size != self.weight.shape[axis]:  # a ConvTranspose in groups
            return self.weight
        shape = [1] * self.weight.ndim
        shape[axis] = -1
        return self.weight * scale.reshape(shape)


def kernels(network: Network, probe: Probe) -> list[Kernel]:
    """Of every layer whose weight can be told, in the layers' order."""
    constants = Constants(network.model)
    return [kernel for layer in network.layers if (kernel := _kernel(network, probe, constants, layer)) is not None]


def _kernel(network: Network, probe: Probe, constants: Constants, layer: Layer) -> Kernel | None:
    stored = layer.weight
    if stored is None or stored.node != layer.node:
        return None
    node = constants.wiring.node[layer.node]
    path = find_path(network.model, stored.tensor, stored.path)
    read = path.weight if path is not None else constants.get(node.input[stored.slot])
    if read is None:
        return None
    weight = np.asarray(read.astype(np.float64 if read.dtype == np.float64 else np.float32, copy=False))
    turned = weight.ndim == 2 and "Conv" not in layer.op
    if turned:
        wants = bool(int_attribute(node, "transA" if stored.slot == 0 else "transB", 0))
        turned = wants if stored.slot == 0 else not wants
    steps = None if path is None else tuple(transpose(*move) for move in path.moves)
    if turned:
        steps = None if steps is None else (*steps, transpose(weight.shape, (1, 0)))
        weight = weight.T
    rank = weight.ndim if "Conv" in layer.op else 2
    groups = int_attribute(node, "group", 1) if layer.op == "ConvTranspose" else 1
    channels = int(weight.shape[_channel_axis(layer, weight)]) * groups
    source = probe.kinds.get(layer.word)
    return Kernel(
        layer,
        stored,
        weight,
        steps,
        affine(constants, layer, channels, rank, network.output),
        source.shape if isinstance(source, Rows) else (),
    )


def _channel_axis(layer: Layer, weight: Array) -> int:
    """The axis of `weight` that runs over output channels."""
    if layer.op == "ConvTranspose":
        return 1
    return 0 if weight.ndim == 2 or "Conv" in layer.op else -1
