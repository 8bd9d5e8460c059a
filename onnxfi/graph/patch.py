"""New nodes and constants for an existing graph, under names that nothing in it has yet."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper


class Patch:
    """Collects what a rewrite adds. `label` goes into every new name: `TENSOR/label/part`.

    The graph itself is only read, for its names; the caller puts `nodes` where they belong and adds `constants`.
    """

    def __init__(self, graph: GraphProto, label: str) -> None:
        self.label = label
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self._taken = {v.name for v in (*graph.input, *graph.output, *graph.initializer)}
        self._taken |= {s.values.name for s in graph.sparse_initializer}
        for node in graph.node:
            self._taken.update((node.name, *node.input, *node.output))

    def fresh(self, tensor: str, part: str) -> str:
        """`tensor/label/part`, with a number behind it where that is taken."""
        base = name = f"{tensor}/{self.label}/{part}"
        number = 1
        while name in self._taken:
            number += 1
            name = f"{base}_{number}"
        self._taken.add(name)
        return name

    def constant(self, tensor: str, part: str, value: ArrayLike | TensorProto) -> str:
        """Keep a constant, of the dtype that it has, and return its name."""
        name = self.fresh(tensor, part)
        kept = TensorProto()
        kept.CopyFrom(value if isinstance(value, TensorProto) else numpy_helper.from_array(np.asarray(value)))
        kept.name = name
        self.constants.append(kept)
        return name

    def node(self, op: str, tensor: str, part: str, *inputs: str, out: str | None = None, **attributes: Any) -> str:
        """Append a node that writes one tensor, `out` or a fresh name; returns that tensor's name."""
        name = self.fresh(tensor, part)
        output = name if out is None else out
        self.nodes.append(helper.make_node(op, list(inputs), [output], name=name, **attributes))
        return output

    def take(self) -> list[NodeProto]:
        """The nodes collected since the last time."""
        nodes, self.nodes = self.nodes, []
        return nodes
