"""Folding what follows a layer into the layer: W * scale as the weight, the shift as the bias, and nothing after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from onnx import ModelProto, helper, numpy_helper

from onnxfi.graph.affine import Affine
from onnxfi.graph.network import Network
from onnxfi.graph.tidy import prune, set_nodes
from onnxfi.graph.wiring import Wiring


@dataclass(frozen=True)
class Fold:
    """One layer's: `values`, of the stored tensor's shape and dtype, take its place; `affine` is what follows it."""

    node: str
    tensor: str
    values: NDArray[Any]
    affine: Affine


def foldable(network: Network, node: str, affine: Affine) -> bool:
    """Whether `fold` can do it: channels stay where they are, and the layer's op is a Conv, Gemm or MatMul."""
    kinds = {n.name: n.op_type for n in network.model.graph.node}
    return kinds[node] in ("Conv", "Gemm", "MatMul") and "Transpose" not in {kinds[name] for name in affine.nodes}


def fold(network: Network, folds: Sequence[Fold]) -> ModelProto:
    """A copy of the network's model in which each of `folds` is done. Every one of them must be `foldable`."""
    model = ModelProto()
    model.CopyFrom(network.model)
    helper.set_model_props(model, dict(network.metadata))
    graph, wiring = model.graph, Wiring(model.graph)
    added = []
    for each in folds:
        node, kind = wiring.node[each.node], each.values.dtype
        wiring.initializer[each.tensor].CopyFrom(numpy_helper.from_array(each.values, each.tensor))
        shift = f"{each.tensor}.shift"
        graph.initializer.append(numpy_helper.from_array(each.affine.shift.astype(kind), shift))
        if node.op_type == "MatMul":
            node.output[0] = f"{each.tensor}.product"
            name = f"{each.node}.shift"
            added.append(helper.make_node("Add", [node.output[0], shift], [each.affine.end], name=name))
        else:
            node.input[:] = [*node.input[:2], shift]
            node.output[0] = each.affine.end
            plain = [a for a in node.attribute if a.name not in ("alpha", "beta")]
            del node.attribute[:]
            node.attribute.extend(plain)
    gone = {name for each in folds for name in each.affine.nodes}
    after = {node.input[0]: node for node in added}
    nodes = []
    for node in graph.node:
        if node.name not in gone:
            nodes.append(node)
            nodes += [after[name] for name in node.output if name in after]
    set_nodes(graph, nodes)
    prune(model)
    return model
