"""Where a stored tensor is used: followed through what only passes it on, to what computes with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from onnx import NodeProto

from onnxfi.graph.roles import no_site
from onnxfi.graph.wiring import Wiring


@dataclass(frozen=True)
class Use:
    """One way a stored tensor is read: along `path` (node names, in order) to input `slot` of `node`."""

    tensor: str
    path: tuple[str, ...]
    node: NodeProto
    slot: int


def uses(wiring: Wiring, tensor: str) -> Iterator[Use]:
    """Every use of the initializer `tensor`, in the graph's order.

    The path leads through nodes that read constants alone (Transpose, Cast, DequantizeLinear, arithmetic of weights);
    it ends at the first node that also reads an activation, or that reads it as a shape, a bound or a scale.
    """
    found: dict[tuple[str, int], Use] = {}
    stack: list[tuple[str, tuple[str, ...]]] = [(tensor, ())]
    seen = {tensor}
    while stack:
        name, path = stack.pop()
        for node, slot in wiring.readers(name):
            if wiring.moving(node) or no_site(node, slot) is not None:
                found[node.name, slot] = Use(tensor, path, node, slot)
                continue
            for output in node.output:
                if output and output not in seen:
                    seen.add(output)
                    stack.append((output, (*path, node.name)))
    return iter(sorted(found.values(), key=lambda use: (wiring.place[use.node.name], use.slot)))
