"""What a layer really multiplies by: its weight together with the channelwise arithmetic that follows it.

An exporter may keep BatchNormalization, write it as Sub, Mul and Add, or fold it into the weight. All three are the
same function: conv(x, W) * scale + shift with one scale and one shift a channel, and so W * scale and shift can be
compared whatever the form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from onnxfi.graph.layers import Layer
from onnxfi.graph.roles import BIAS_SLOT
from onnxfi.graph.wiring import Wiring

Array = NDArray[Any]
Vector = NDArray[np.float64]

_BINARY = frozenset({"Add", "Sub", "Mul", "Div"})


class Constants:
    """Values of the tensors of a model that no image changes, computed where the file does not store them."""

    def __init__(self, model: ModelProto) -> None:
        self.wiring = Wiring(model.graph)
        own = list(model.opset_import)
        # The evaluator has some ops of newer opsets only; what they do to constants is the same.
        self._imports = (own, [helper.make_opsetid("", 21), *(o for o in own if o.domain)])
        self._known: dict[str, Array | None] = {}

    def get(self, tensor: str) -> Array | None:
        """The value; None where images change the tensor, or it cannot be computed."""
        if tensor not in self.wiring.constant:
            return None
        if tensor not in self._known:
            stored = self.wiring.initializer.get(tensor)
            if stored is not None:
                self._known[tensor] = numpy_helper.to_array(stored)
            elif tensor in self.wiring.producer:
                self._compute(self.wiring.producer[tensor])
        return self._known.get(tensor)

    def _compute(self, node: NodeProto) -> None:
        outputs = [name for name in node.output if name]
        self._known.update(dict.fromkeys(outputs))
        names = list(dict.fromkeys(name for name in node.input if name))
        values = {name: self.get(name) for name in names}
        if any(value is None for value in values.values()):
            return
        graph = helper.make_graph(
            [node],
            "constant",
            [helper.make_empty_tensor_value_info(name) for name in names],
            [helper.make_empty_tensor_value_info(name) for name in outputs],
        )
        for imports in self._imports:
            try:
                made: Any = ReferenceEvaluator(helper.make_model(graph, opset_imports=imports)).run(outputs, values)
            except Exception:  # the evaluator raises whatever its ops raise, and none of it says that the model is bad
                continue
            self._known.update({name: np.asarray(value) for name, value in zip(outputs, made, strict=True)})
            return


@dataclass(frozen=True)
class Affine:
    """A layer computes weight(x) * scale + shift, one number each of its output channels, at the tensor `end`.

    axis   of the channels in `end`, counted from its last axis: -1 is the last
    nodes  names of the nodes between the layer's own and `end`, the last one's included
    folds  whether any of them scales: the weight as stored is not yet what the layer multiplies by
    """

    scale: Vector
    shift: Vector
    end: str
    axis: int
    nodes: tuple[str, ...]

    @property
    def folds(self) -> bool:
        return bool((self.scale != 1).any())


def affine(constants: Constants, layer: Layer, channels: int, rank: int, output: str) -> Affine:
    """Follow `layer` as far as channels are only scaled and shifted, but not past the model's `output`.

    channels: of the layer's output; rank: of its weight as the op reads it.
    """
    wiring = constants.wiring
    node = wiring.node[layer.node]
    first = 1 - rank if "Conv" in layer.op else -1
    axis = first
    scale, shift = np.ones(channels), np.zeros(channels)
    if node.op_type in ("Gemm", "FusedGemm"):
        scale = scale * _factor(node, "alpha")
    slot = BIAS_SLOT.get(node.op_type)
    bias = constants.get(node.input[slot]) if slot is not None and len(node.input) > slot else None
    if bias is not None:
        each = np.resize(bias.astype(np.float64).ravel(), channels)
        shift = shift + each * (_factor(node, "beta") if "Gemm" in node.op_type else 1.0)
    end, passed = layer.output, list[str]()
    while end != output and len(wiring.readers(end)) == 1:
        reader, place = wiring.readers(end)[0]
        if reader.op_type == "Transpose":
            order = next((tuple(a.ints) for a in reader.attribute if a.name == "perm"), None)
            if order is None:
                break
            axis = order.index(len(order) + axis) - len(order)
        elif (step := _step(constants, reader, place, axis, channels, axis == first)) is not None:
            scale, shift = scale * step[0], shift * step[0] + step[1]
        elif reader.op_type != "Identity":
            break
        passed.append(reader.name)
        end = reader.output[0]
    return Affine(scale, shift, end, axis, tuple(passed))


def _factor(node: NodeProto, name: str) -> float:
    return next((float(a.f) for a in node.attribute if a.name == name), 1.0)


def _step(
    constants: Constants, node: NodeProto, slot: int, axis: int, channels: int, second: bool
) -> tuple[Vector, Vector] | None:
    """Scale and shift (channels,) of one node; None where it is no channelwise affine.

    second: whether channels lie on the tensor's second axis, which BatchNormalization works on.
    """
    others = [name for place, name in enumerate(node.input) if name and place != slot]
    values = [value.astype(np.float64) for name in others if (value := constants.get(name)) is not None]
    if len(values) != len(others):
        return None
    if node.op_type == "BatchNormalization" and slot == 0 and second:
        gamma, beta, mean, variance = values
        epsilon = next((float(a.f) for a in node.attribute if a.name == "epsilon"), 1e-5)
        scale = gamma / np.sqrt(variance + epsilon)
        return scale, beta - mean * scale
    if node.op_type not in _BINARY or len(others) != 1:
        return None
    operand = _per_channel(values[0], axis, channels)
    if operand is None:
        return None
    one, nothing = np.ones(channels), np.zeros(channels)
    if node.op_type == "Add":
        return one, operand
    if node.op_type == "Sub":
        return (one, -operand) if slot == 0 else (-one, operand)
    if node.op_type == "Mul":
        return operand, nothing
    return (1.0 / operand, nothing) if slot == 0 else None


def _per_channel(value: Vector, axis: int, channels: int) -> Vector | None:
    """`value` as one number a channel; None where it varies along another axis, too."""
    if value.size == 1:
        return np.full(channels, float(value.ravel()[0]))
    if value.size == channels and value.ndim >= -axis and value.shape[axis] == channels:
        return np.asarray(value.ravel(), np.float64)
    return None
