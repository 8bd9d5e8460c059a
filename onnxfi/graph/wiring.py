"""Who writes and who reads each tensor of a graph, and which tensors no input can change."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from onnx import GraphProto, NodeProto, TensorProto, numpy_helper

SAME_WORD = frozenset({"Identity", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Dropout"})
"""Ops that pass a stored value on unchanged, at most to another index (Dropout at inference is Identity)."""


class Wiring:
    """An index over one graph, taken when it is made: make a new one after changing the graph."""

    def __init__(self, graph: GraphProto) -> None:
        self.graph = graph
        self.initializer: dict[str, TensorProto] = {t.name: t for t in graph.initializer}
        self.node: dict[str, NodeProto] = {n.name: n for n in graph.node}
        self.place: dict[str, int] = {n.name: i for i, n in enumerate(graph.node)}
        self.producer: dict[str, NodeProto] = {}
        self._readers: dict[str, list[tuple[NodeProto, int]]] = {}
        for node in graph.node:
            for output in node.output:
                if output:
                    self.producer[output] = node
            for slot, name in enumerate(node.input):
                if name:
                    self._readers.setdefault(name, []).append((node, slot))

    def readers(self, tensor: str) -> list[tuple[NodeProto, int]]:
        """(node, input slot) pairs that read `tensor`, in the graph's order."""
        return self._readers.get(tensor, [])

    @cached_property
    def constant(self) -> frozenset[str]:
        """Tensors that depend on no graph input: initializers and what nodes make of them alone."""
        known = set(self.initializer) | {s.values.name for s in self.graph.sparse_initializer}
        for node in self.graph.node:
            if all(not name or name in known for name in node.input) or self._never(node):
                known.update(o for o in node.output if o)
        return frozenset(known)

    def _never(self, node: NodeProto) -> bool:
        """Whether the node is `Less(Abs(x), 0)`, false whatever x is: what live guards hang on (see graph.guards)."""
        if node.op_type != "Less" or node.input[1] not in self.initializer:
            return False
        size = self.producer.get(node.input[0])
        zero = numpy_helper.to_array(self.initializer[node.input[1]])
        return size is not None and size.op_type == "Abs" and zero.size == 1 and not zero.any()

    def moving(self, node: NodeProto) -> list[str]:
        """The node's inputs that depend on a graph input."""
        return [name for name in node.input if name and name not in self.constant]

    def stored_word(self, tensor: str) -> str:
        """The stored activation behind `tensor`: back through ops that only move it, and through DequantizeLinear."""
        while (node := self.producer.get(tensor)) is not None and tensor == node.output[0]:
            if node.op_type not in SAME_WORD and node.op_type != "DequantizeLinear":
                break
            if node.input[0] in self.constant:
                break
            tensor = node.input[0]
        return tensor


def attribute(node: NodeProto, name: str, default: int) -> int:
    """An integer attribute of the node, or `default` where it has none."""
    for a in node.attribute:
        if a.name == name:
            return int(a.i)
    return default


def walk_nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """The graph's nodes, those of sub-graphs included."""
    for node in graph.node:
        yield node
        for a in node.attribute:
            for sub in ([a.g] if a.HasField("g") else []) + list(a.graphs):
                yield from walk_nodes(sub)
