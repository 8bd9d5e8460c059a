"""Names in an exported graph that are the model's own, and the same whenever it is exported again.

tf2onnx names nodes and tensors by counters that run on for as long as the process lives. Here a node is called after
its layer and op, `stage1/conv1/Conv`, the tensor it writes likewise, and a weight as Keras calls the variable,
`stage1/conv1/kernel`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from onnx import GraphProto, NodeProto

from converters.keras.patches import Scopes
from converters.keras.stand_ins import Place


def in_order(graph: GraphProto) -> None:
    """Sorts nodes by what the output needs first, inputs from left to right, and initializers by their first reader."""
    writer = {name: node for node in graph.node for name in node.output}
    done: dict[str, NodeProto] = {}
    waiting = [node for value in reversed(graph.output) if (node := writer.get(value.name)) is not None]
    while waiting:
        node = waiting[-1]
        needed = [writer[name] for name in node.input if name in writer and writer[name].output[0] not in done]
        if needed:
            waiting += reversed(needed)
        else:
            done.setdefault(waiting.pop().output[0], node)
    nodes = [NodeProto.FromString(node.SerializeToString()) for node in done.values()]
    del graph.node[:]
    graph.node.extend(nodes)
    first = {name: place for place, name in reversed([*enumerate(name for node in nodes for name in node.input)])}
    tensors = sorted((tensor for tensor in graph.initializer if tensor.name in first), key=lambda t: first[t.name])
    kept = [type(tensor).FromString(tensor.SerializeToString()) for tensor in tensors]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def rename(graph: GraphProto, found: Mapping[str, Place], scopes: Scopes) -> dict[str, Place]:
    """Gives nodes, tensors and initializers of a graph in order their names; returns `found` under them, in that order.

    Inputs and outputs of the graph keep theirs. Intermediate shapes that the exporter wrote down are taken out.
    """
    fixed = {value.name for value in (*graph.input, *graph.output)}
    new: dict[str, str] = {name: name for name in fixed}
    taken = Counter(fixed)
    for tensor in graph.initializer:
        if tensor.name in found:
            new[tensor.name] = _free(found[tensor.name].variable, taken)
    for node in graph.node:
        layer = layer_of(node.name, scopes)
        node.name = _free(f"{layer}/{node.op_type}" if layer else node.op_type, taken)
        for number, name in enumerate(node.output):
            new.setdefault(name, node.name if number == 0 else _free(f"{node.name}/{number}", taken))
        for number, name in enumerate(node.input):
            if name and name not in new:
                new[name] = _free(f"{node.name}/input{number}", taken)
    for node in graph.node:
        node.input[:] = [new.get(name, name) for name in node.input]
        node.output[:] = [new.get(name, name) for name in node.output]
    named = {new[tensor.name]: found[tensor.name] for tensor in graph.initializer if tensor.name in found}
    for tensor in graph.initializer:
        tensor.name = new[tensor.name]
    del graph.value_info[:]
    return named


def layer_of(name: str, scopes: Scopes) -> str:
    """The layer in whose scope tf2onnx's `name` is, without the model's own name; empty where there is none."""
    parts = name.split("/")
    for end in range(len(parts) - 1, 0, -1):
        layer = scopes.get("/".join(parts[:end]) + "/")
        if layer is not None:
            return layer.partition("/")[2]
    return ""


def _free(name: str, taken: Counter[str]) -> str:
    """The name, with `_2`, `_3` behind it where it is taken."""
    taken[name] += 1
    return name if taken[name] == 1 else _free(f"{name}_{taken[name]}", taken)
