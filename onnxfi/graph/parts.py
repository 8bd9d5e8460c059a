"""What part each use of a stored tensor plays: a layer's weight or bias, what follows it, or no site at all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from onnx import NodeProto, TensorProto, TypeProto

from onnxfi.graph.load import type_name
from onnxfi.graph.roles import BIAS_SLOT, LAYER_SLOTS, no_site, role
from onnxfi.graph.uses import Use
from onnxfi.graph.wiring import Wiring

FLOATS = frozenset({"FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE"})
INTEGERS = frozenset({"INT8", "UINT8", "INT16", "UINT16", "INT32", "UINT32", "INT64", "UINT64"})
"""With FLOATS, the element types whose words a fault can change."""

_MOVES = frozenset({"Reshape", "Cast", "Identity", "DequantizeLinear", "QuantizeLinear", "Transpose"})


def weight_slots(wiring: Wiring, node: NodeProto) -> tuple[int, int] | None:
    """(slot of the weight, slot of the activation) where the node is a weighted layer."""
    for weight, activation in LAYER_SLOTS.get(node.op_type, ()):
        if max(weight, activation) < len(node.input):
            held, moving = node.input[weight], node.input[activation]
            if held in wiring.constant and moving not in wiring.constant:
                return weight, activation
    return None


@dataclass(frozen=True)
class Parts:
    """Tells the part of a use, given the layers' slots (see `weight_slots`) and what inference knows of the tensors."""

    wiring: Wiring
    slots: Mapping[str, tuple[int, int]]
    types: Mapping[str, TypeProto]

    def of(self, use: Use, tensor: TensorProto) -> str | None:
        """The role of the tensor's words in this use; None where they are no site in it."""
        node, slot = use.node, use.slot
        if no_site(node, slot) is not None:
            return None
        if node.name in self.slots:
            if slot == self.slots[node.name][0]:
                return self._of_weight(use, tensor)
            return "bias" if slot == BIAS_SLOT.get(node.op_type) else None
        if not self._is_number(use, tensor):
            return None
        part = role(node, slot)
        if part == "shift" and self._is_bias(node):
            return "bias"
        if math.prod(tensor.dims) == 1 and node.op_type not in ("BatchNormalization", "PRelu"):
            return None
        return part or "constant"

    def why_not(self, tensor: TensorProto, ways: list[Use], sited: bool, folded: bool) -> str | None:
        """Why the tensor cannot be injected; None where it can. `sited`: some use makes it a site."""
        kind = type_name(tensor.data_type)
        if sited:
            return None if kind in FLOATS | INTEGERS else f"its words are {kind}, which faults cannot be put into"
        for use in ways:
            if (why := no_site(use.node, use.slot)) is not None:
                return f"{why} of {use.node.op_type}"
        if not ways:
            return "no node computes with it"
        op = ways[0].node.op_type
        if not self._is_number(ways[0], tensor):
            return f"shape, axis or index of {op}"
        if folded:
            return f"the graph computes it for {op}, the file does not store it"
        return f"a single number of the graph's arithmetic ({op})"

    def _of_weight(self, use: Use, tensor: TensorProto) -> str:
        """`weight`, or what else a smaller constant is that is computed into it (the factor of a weight norm)."""
        operand = self.types.get(use.node.input[use.slot])
        dims = operand.tensor_type.shape.dim if operand is not None else ()
        if math.prod(tensor.dims) < math.prod(d.dim_value for d in dims):
            for name in use.path:
                part = role(self.wiring.node[name], 0)
                if part is not None:
                    return part
        return "weight"

    def _is_number(self, use: Use, tensor: TensorProto) -> bool:
        """Whether the words stand for real numbers: floats, and integers that are dequantised."""
        kind = type_name(tensor.data_type)
        if kind in INTEGERS:
            way = {self.wiring.node[name].op_type for name in use.path}
            return "DequantizeLinear" in way or use.node.op_type.startswith("QLinear")
        return kind in FLOATS

    def _is_bias(self, node: NodeProto) -> bool:
        """Whether the node adds its constant right after a weighted layer that has no bias of its own.

        An integer layer's product is scaled in between (MatMulInteger, Cast, Mul, Add).
        """
        moving = self.wiring.moving(node)
        if node.op_type != "Add" or len(moving) != 1:
            return False
        tensor, scaled = moving[0], False
        while (before := self.wiring.producer.get(tensor)) is not None:
            if before.name in self.slots:
                slot = BIAS_SLOT.get(before.op_type, len(before.input))
                bare = len(before.input) <= slot or not before.input[slot]
                return bare and (not scaled or before.op_type.endswith("Integer"))
            if before.op_type == "Mul":
                scaled = True
            elif before.op_type not in _MOVES:
                return False
            tensor = before.input[0]
        return False
