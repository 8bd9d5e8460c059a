"""float16 that is float16: every intermediate rounded where the model says so.

ONNX Runtime's CPU has hardly a float16 kernel. It computes in float32 between two casts, and takes out the casts that
meet between two nodes, at every optimisation level: a chain is rounded once, at its end. A pair of BitCasts, to uint16
and back, is a reader that wants the stored word, so each node's result is rounded before it; the pair copies bits and
nothing else. (Identity, Concat or Flatten in its place do not hold: ONNX Runtime looks through them.)
"""

from __future__ import annotations

from onnx import ModelProto, NodeProto, TensorProto

from onnxfi.graph.dtypes import element_types
from onnxfi.graph.opset import NEWEST_OPSET, to_opset
from onnxfi.graph.patch import Patch
from onnxfi.graph.tidy import set_nodes
from onnxfi.graph.wiring import SAME_WORD

LABEL = "barrier"
"""Part of the name of every tensor and node that `add_barriers` adds."""


def needs_barriers(model: ModelProto) -> bool:
    """Whether any node of the model writes float16 that it computed."""
    types = element_types(model)
    return any(_rounds(node, types) for node in model.graph.node)


def add_barriers(model: ModelProto) -> ModelProto:
    """A copy of `model`, at opset 26 or newer, with a barrier behind each float16 output that a node computes.

    The barrier writes the tensor under its old name, so cuts, faults and outputs by name stay right; the node itself
    writes `NAME/barrier/computed`. Ops that only move words (Identity, Transpose, Reshape and the like) need none.
    Doing it twice changes nothing more. Raises ModelError where the model cannot be brought to opset 26.
    """
    copy = to_opset(model, NEWEST_OPSET)
    graph = copy.graph
    types = element_types(copy)
    patch = Patch(graph, LABEL)
    nodes: list[NodeProto] = []
    for node in graph.node:
        nodes.append(node)
        if not _rounds(node, types):
            continue
        computed = NodeProto()
        computed.CopyFrom(node)
        for i, name in enumerate(node.output):
            if types.get(name) != TensorProto.FLOAT16:
                continue
            computed.output[i] = patch.fresh(name, "computed")
            words = patch.node("BitCast", name, "words", computed.output[i], to=TensorProto.UINT16)
            patch.node("BitCast", name, "rounded", words, out=name, to=TensorProto.FLOAT16)
        nodes[-1:] = [computed, *patch.take()]
    set_nodes(graph, nodes)
    return copy


def _rounds(node: NodeProto, types: dict[str, int]) -> bool:
    if node.op_type in SAME_WORD or node.op_type == "BitCast" or f"/{LABEL}/" in "".join(node.output):
        return False
    return any(name and types.get(name) == TensorProto.FLOAT16 for name in node.output)
