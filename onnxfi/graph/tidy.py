"""Bringing any graph into one form: constants as initializers, one output, unique names, sorted, nothing unread.

Each pass changes the model it is given and is idempotent. None changes what the model computes.
"""

from __future__ import annotations

import heapq
from collections import Counter

import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from onnxfi.errors import ModelError


def strip(model: ModelProto) -> None:
    """Drop what says nothing about the computation: stack traces of the exporter's machine, texts, stale shapes."""
    graph = model.graph
    del graph.value_info[:]
    del graph.quantization_annotation[:]
    del model.training_info[:]
    for node in graph.node:
        node.ClearField("doc_string")
        for i in reversed([i for i, p in enumerate(node.metadata_props) if p.key.endswith("stack_trace")]):
            del node.metadata_props[i]


def drop_initializer_inputs(model: ModelProto) -> None:
    """IR 3 lists every initializer as a graph input too, so that a caller may override it: here they are constants."""
    names = {t.name for t in model.graph.initializer} | {s.values.name for s in model.graph.sparse_initializer}
    kept = [v for v in model.graph.input if v.name not in names]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.ir_version = max(model.ir_version, 4)  # the first that lets an initializer not be an input


def constants_to_initializers(model: ModelProto) -> None:
    """Constant nodes become initializers under the name of their output; only strings stay nodes."""
    graph = model.graph
    kept: list[NodeProto] = []
    for node in graph.node:
        is_constant = node.op_type == "Constant" and node.domain in ("", "ai.onnx")
        sparse = [a.sparse_tensor for a in node.attribute if a.name == "sparse_value"] if is_constant else []
        if sparse:
            twin = graph.sparse_initializer.add()
            twin.CopyFrom(sparse[0])
            twin.values.name = node.output[0]
        elif is_constant and (value := constant_value(node)) is not None:
            value.name = node.output[0]
            graph.initializer.append(value)
        else:
            kept.append(node)
    if len(kept) < len(graph.node):
        set_nodes(graph, kept)


def constant_value(node: NodeProto) -> TensorProto | None:
    """The tensor that a Constant node holds; None for a string or a sparse tensor."""
    for a in node.attribute:
        if a.name == "value" and a.type == AttributeProto.TENSOR:
            tensor = TensorProto()
            tensor.CopyFrom(a.t)
            return tensor
        if a.name == "value_float":
            return numpy_helper.from_array(np.array(a.f, np.float32))
        if a.name == "value_floats":
            return numpy_helper.from_array(np.array(list(a.floats), np.float32))
        if a.name == "value_int":
            return numpy_helper.from_array(np.array(a.i, np.int64))
        if a.name == "value_ints":
            return numpy_helper.from_array(np.array(list(a.ints), np.int64))
    return None


def set_nodes(graph: GraphProto, nodes: list[NodeProto]) -> None:
    """Make `nodes` the graph's nodes, in that order."""
    copies = []
    for node in nodes:  # the repeated field owns its messages: what is kept must be copied before it is cleared
        copy = NodeProto()
        copy.CopyFrom(node)
        copies.append(copy)
    del graph.node[:]
    graph.node.extend(copies)


def name_nodes(model: ModelProto) -> frozenset[str]:
    """Give each node a name of its own: `Conv_3` (op and place among its like) to one without, `NAME#2` to a repeat.

    Returns the names that were made of nothing.
    """
    graph = model.graph
    taken = {n.name for n in graph.node}
    seen: set[str] = set()
    counts: Counter[str] = Counter()
    made = set()
    for node in graph.node:
        given = node.name
        while not node.name or node.name in seen:
            counts[given or node.op_type] += 1
            number = counts[given or node.op_type]
            name = f"{given}#{number + 1}" if given else f"{node.op_type}_{number}"
            if name not in taken:
                node.name = name
        taken.add(node.name)
        seen.add(node.name)
        if not given:
            made.add(node.name)
    return frozenset(made)


def sort_nodes(model: ModelProto) -> None:
    """Sort the nodes topologically, staying as close to the file's order as that allows.

    Raises ModelError: a tensor written twice or by nothing, or a cycle.
    """
    graph = model.graph
    known = {v.name for v in graph.input} | {t.name for t in graph.initializer}
    known |= {s.values.name for s in graph.sparse_initializer}
    writer: dict[str, int] = {}
    for i, node in enumerate(graph.node):
        for output in node.output:
            if output and (output in writer or output in known):
                raise ModelError(
                    f"tensor {output!r} is written twice, the second time by node {node.name!r}: "
                    "export the model again."
                )
            if output:
                writer[output] = i
    waits: list[set[int]] = []
    feeds: dict[int, list[int]] = {}
    for i, node in enumerate(graph.node):
        for name in node.input:
            if name and name not in known and name not in writer:
                raise ModelError(
                    f"node {node.name!r} ({node.op_type}) reads {name!r}, which nothing writes: export the model again."
                )
        before = {writer[name] for name in node.input if name in writer}
        waits.append(before)
        for j in before:
            feeds.setdefault(j, []).append(i)
    ready = [i for i, before in enumerate(waits) if not before]
    heapq.heapify(ready)
    order: list[int] = []
    while ready:
        i = heapq.heappop(ready)
        order.append(i)
        for j in feeds.get(i, ()):
            waits[j].discard(i)
            if not waits[j]:
                heapq.heappush(ready, j)
    if len(order) < len(graph.node):
        stuck = next(n for n, before in zip(graph.node, waits, strict=True) if before)
        raise ModelError(
            f"the graph has a cycle through node {stuck.name!r} ({stuck.op_type}): export the model again."
        )
    if order != sorted(order):
        set_nodes(graph, [graph.node[i] for i in order])


def set_output(model: ModelProto, output: str, info: ValueInfoProto | None) -> None:
    """Make `output` the graph's only output, declared as `info` says, or as nothing but a name."""
    kept = next((v for v in model.graph.output if v.name == output), info)
    value = ValueInfoProto()
    if kept is not None:
        value.CopyFrom(kept)
    else:
        value.CopyFrom(helper.make_empty_tensor_value_info(output))
    del model.graph.output[:]
    model.graph.output.append(value)


def prune(model: ModelProto) -> tuple[TensorProto, ...]:
    """Drop what the outputs do not need: nodes, initializers, inputs.

    Returns the initializers dropped, without their data.
    """
    graph = model.graph
    needed = {v.name for v in graph.output}
    kept: list[NodeProto] = []
    for node in reversed(graph.node):
        if any(o in needed for o in node.output):
            kept.append(node)
            needed.update(node.input)
    if len(kept) < len(graph.node):
        set_nodes(graph, kept[::-1])
    dropped = tuple(
        TensorProto(name=t.name, dims=t.dims, data_type=t.data_type) for t in graph.initializer if t.name not in needed
    )
    for i in reversed([i for i, t in enumerate(graph.initializer) if t.name not in needed]):
        del graph.initializer[i]
    for i in reversed([i for i, s in enumerate(graph.sparse_initializer) if s.values.name not in needed]):
        del graph.sparse_initializer[i]
    for i in reversed([i for i, v in enumerate(graph.input) if v.name not in needed]):
        del graph.input[i]
    return dropped
