"""The weighted layers of a graph, and the stored numbers of each that a fault can hit.

A layer is a Conv, ConvTranspose, Gemm or MatMul (or its integer or QLinear form) of which one operand depends on an
activation and the other on stored numbers alone. Its parameters are the words as stored: in a quantised model the
integer before DequantizeLinear, behind a Transpose the tensor before it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from onnxfi.graph.ingest import Ingested
from onnxfi.graph.naming import Nameable, layer_ids
from onnxfi.graph.parts import Parts, weight_slots
from onnxfi.graph.uses import Use, uses
from onnxfi.graph.wiring import Wiring


@dataclass(frozen=True)
class Parameter:
    """One stored tensor of a layer: the words that a fault can hit."""

    tensor: str
    """The initializer's name."""
    role: str
    """weight, bias, scale, shift, mean, variance, or constant where the op gives it no such part."""
    shape: tuple[int, ...]
    dtype: str
    """numpy's name of the stored type (float32, int8, bfloat16)."""
    readers: tuple[str, ...]
    """Names of all nodes that compute with the words, wherever in the graph, paths seen through."""
    path: tuple[str, ...]
    """Names of the nodes from the initializer to this layer's input, in order; empty where it is read directly."""
    node: str
    """Name of the node that reads it here: the layer's own, or the BatchNormalization, Add or Mul after it."""
    slot: int
    """Which input of that node the path ends at."""

    @property
    def elements(self) -> int:
        """Stored numbers."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Layer:
    """One weighted layer."""

    index: int
    """Its place among the layers, in topological order, from 0."""
    id: str
    """A readable name, unique in the model."""
    op: str
    node: str
    """Unique name of its node."""
    parameters: tuple[Parameter, ...]
    """The weight first, then the bias, then what follows up to the next layer."""
    input: str
    """The activation tensor that the op reads."""
    word: str
    """The stored activation behind it: back through ops that only move it, the model's input included."""
    output: str
    """The tensor that the op writes."""

    @property
    def weight(self) -> Parameter | None:
        """The weight; None where its stored type cannot be treated."""
        return next((p for p in self.parameters if p.role == "weight"), None)


@dataclass(frozen=True)
class Refused:
    """A stored tensor that cannot be injected, and why."""

    tensor: str
    why: str


@dataclass(frozen=True)
class Found:
    """What `find_layers` finds."""

    layers: tuple[Layer, ...]
    refused: tuple[Refused, ...]
    shared: dict[str, tuple[str, ...]]
    """Sites with several readers: initializer -> names of the reading nodes."""
    notes: tuple[str, ...]


def find_layers(done: Ingested) -> Found:
    """The layers of an ingested model with their parameters, and all stored tensors that are no sites."""
    wiring = Wiring(done.model.graph)
    slots = {n.name: s for n in done.model.graph.node if (s := weight_slots(wiring, n)) is not None}
    nodes = [wiring.node[name] for name in slots]
    owner = _owners(wiring, {name: i for i, name in enumerate(slots)})
    parts = Parts(wiring, slots, done.types)
    mine: list[list[Parameter]] = [[] for _ in nodes]
    refused = [Refused(t, "the chosen output does not depend on it") for t in done.dropped]
    for name, tensor in wiring.initializer.items():
        ways = list(uses(wiring, name))
        sites = [(use, part) for use in ways if (part := parts.of(use, tensor)) is not None]
        if name in done.folded:  # a weight given in short, by ConstantOfShape, is one; what else is computed is not
            sites = [(use, part) for use, part in sites if part == "weight"]
        why = parts.why_not(tensor, ways, bool(sites), name in done.folded)
        if why is None and not nodes:
            why = "there is no weighted layer that it could belong to"
        if why is not None:
            refused.append(Refused(name, why))
            continue
        for use, part in sites:
            mine[owner.get(use.node.name, 0)].append(_parameter(tensor, ways, use, part))
    refused += [Refused(s.values.name, "it is stored sparse") for s in done.model.graph.sparse_initializer]
    for found in mine:
        found.sort(key=lambda p: (p.role != "weight", wiring.place[p.node], p.slot))
    ids, note = layer_ids(
        done.model, [_nameable(node, found, slots, done.generated) for node, found in zip(nodes, mine, strict=True)]
    )
    layers = tuple(
        Layer(
            index=i,
            id=ids[i],
            op=node.op_type,
            node=node.name,
            parameters=tuple(_once(mine[i])),
            input=node.input[slots[node.name][1]],
            word=wiring.stored_word(node.input[slots[node.name][1]]),
            output=node.output[0],
        )
        for i, node in enumerate(nodes)
    )
    sited = {p.tensor: p.readers for layer in layers for p in layer.parameters}
    notes = [note] if note else []
    if not layers:
        notes.append("no layer of this network reads a stored weight: there is nothing to put a fault into")
    return Found(layers, tuple(refused), {t: r for t, r in sited.items() if len(r) > 1}, tuple(notes))


def follow_paths(layers: Iterable[Layer], model: ModelProto) -> tuple[Layer, ...]:
    """The layers with their parameters' paths as they are in `model`, to which nodes on the way have been added."""
    wiring = Wiring(model.graph)

    def mended(p: Parameter) -> Parameter:
        ways = uses(wiring, p.tensor) if p.path else ()
        return next((replace(p, path=use.path) for use in ways if (use.node.name, use.slot) == (p.node, p.slot)), p)

    return tuple(replace(layer, parameters=tuple(mended(p) for p in layer.parameters)) for layer in layers)


def _parameter(tensor: TensorProto, ways: list[Use], use: Use, part: str) -> Parameter:
    return Parameter(
        tensor=tensor.name,
        role=part,
        shape=tuple(tensor.dims),
        dtype=str(np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))),
        readers=tuple(dict.fromkeys(way.node.name for way in ways)),
        path=use.path,
        node=use.node.name,
        slot=use.slot,
    )


def _nameable(
    node: NodeProto, found: list[Parameter], slots: dict[str, tuple[int, int]], generated: frozenset[str]
) -> Nameable:
    weight = next((p for p in found if p.role == "weight" and p.node == node.name), None)
    own = weight is not None and sum(reader in slots for reader in weight.readers) == 1
    return Nameable(node.op_type, node, None if weight is None else weight.tensor, own, node.name not in generated)


def _once(parameters: Iterable[Parameter]) -> Iterator[Parameter]:
    """The parameters, each tensor once: a tensor may be read twice after one layer."""
    seen: set[str] = set()
    for p in parameters:
        if p.tensor not in seen:
            seen.add(p.tensor)
            yield p


def _owners(wiring: Wiring, place: dict[str, int]) -> dict[str, int]:
    """For each node the layer that its constants belong to: itself, or the last layer that it depends on.

    A node before all layers is absent: what it reads goes to the first one.
    """
    behind: dict[str, int] = {}
    owner: dict[str, int] = {}
    for node in wiring.graph.node:
        last = place.get(node.name, max((behind[name] for name in node.input if name in behind), default=-1))
        if last >= 0:
            owner[node.name] = last
            behind.update((output, last) for output in node.output if output)
    return owner
