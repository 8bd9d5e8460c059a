"""The weighted layers of a graph, and the stored numbers of each that a fault can hit.

A layer is a Conv, ConvTranspose, Gemm or MatMul (or its integer or QLinear form) of which one operand depends on an
activation and the other on stored numbers alone. Its parameters are the words as stored: in a quantised model the
integer before DequantizeLinear, behind a Transpose the tensor before it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto, TensorProto, TypeProto, helper

from onnxfi.graph.ingest import Ingested
from onnxfi.graph.load import type_name
from onnxfi.graph.naming import Nameable, layer_ids
from onnxfi.graph.roles import BIAS_SLOT, LAYER_SLOTS, no_site, role
from onnxfi.graph.uses import Use, uses
from onnxfi.graph.wiring import Wiring

_FLOATS = {"FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE"}
_QUANTISED = {"INT8", "UINT8", "INT16", "UINT16", "INT32"}
WORDS = frozenset(_FLOATS | _QUANTISED | {"UINT32", "INT64", "UINT64"})
"""Element types whose words a fault can change."""


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
        return int(np.prod(self.shape, dtype=np.int64))


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
    model = done.model
    wiring = Wiring(model.graph)
    ways = {t: list(uses(wiring, t)) for t in wiring.initializer}
    slots = {n.name: s for n in model.graph.node if (s := _layer_slots(wiring, n)) is not None}
    nodes = [n for n in model.graph.node if n.name in slots]
    place = {n.name: i for i, n in enumerate(nodes)}
    follows = _follows(wiring, place)
    mine: list[list[tuple[tuple[int, int, int], Parameter]]] = [[] for _ in nodes]
    refused: list[Refused] = [Refused(t, "the chosen output does not depend on it") for t in done.dropped]
    for name, tensor in wiring.initializer.items():
        parts = [(use, _part(wiring, use, slots, tensor, done.types)) for use in ways[name]]
        sites = [(use, part) for use, part in parts if part == "weight" or (part and name not in done.folded)]
        why = _why_not(tensor, ways[name]) if not sites else _bad_type(tensor)
        if why is not None or not nodes:
            refused.append(Refused(name, why or "there is no weighted layer that it could belong to"))
            continue
        readers = tuple(dict.fromkeys(use.node.name for use in ways[name]))
        dtype = str(np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type)))
        for use, part in sites:
            layer = place.get(use.node.name, follows.get(use.node.name, 0))
            parameter = Parameter(name, part, tuple(tensor.dims), dtype, readers, use.path, use.node.name, use.slot)
            mine[layer].append(((0 if part == "weight" else 1, wiring.place[use.node.name], use.slot), parameter))
    refused += [Refused(s.values.name, "it is stored sparse") for s in model.graph.sparse_initializer]
    nameable = []
    for i, node in enumerate(nodes):
        mine[i].sort(key=lambda pair: pair[0])
        weight = next((p for _, p in mine[i] if p.role == "weight" and p.node == node.name), None)
        own = weight is not None and sum(r in place for r in weight.readers) == 1
        nameable.append(
            Nameable(
                node.op_type, node, weight.tensor if weight is not None else None, own, node.name not in done.generated
            )
        )
    ids, note = layer_ids(model, nameable)
    layers = tuple(
        Layer(
            index=i,
            id=ids[i],
            op=node.op_type,
            node=node.name,
            parameters=tuple(_once(p for _, p in mine[i])),
            input=node.input[slots[node.name][1]],
            word=wiring.stored_word(node.input[slots[node.name][1]]),
            output=node.output[0],
        )
        for i, node in enumerate(nodes)
    )
    sited = {p.tensor: p.readers for layer in layers for p in layer.parameters}
    shared = {t: r for t, r in sited.items() if len(r) > 1}
    return Found(layers, tuple(refused), shared, (note,) if note else ())


def _once(parameters: Iterable[Parameter]) -> Iterator[Parameter]:
    seen: set[str] = set()
    for p in parameters:
        if p.tensor not in seen:
            seen.add(p.tensor)
            yield p


def _layer_slots(wiring: Wiring, node: NodeProto) -> tuple[int, int] | None:
    """(slot of the weight, slot of the activation) where the node is a weighted layer."""
    for weight, activation in LAYER_SLOTS.get(node.op_type, ()):
        if max(weight, activation) < len(node.input):
            held, moving = node.input[weight], node.input[activation]
            if held in wiring.constant and moving not in wiring.constant:
                return weight, activation
    return None


def _part(
    wiring: Wiring,
    use: Use,
    slots: Mapping[str, tuple[int, int]],
    tensor: TensorProto,
    types: Mapping[str, TypeProto],
) -> str | None:
    """The role of the words in this use; None where they are no site in it."""
    node, slot = use.node, use.slot
    if no_site(node, slot) is not None:
        return None
    if node.name in slots:
        if slot == slots[node.name][0]:
            return _weight_part(wiring, use, tensor, types)
        return "bias" if slot == BIAS_SLOT.get(node.op_type) else None
    if not _is_number(tensor):
        return None
    part = role(node, slot)
    size = _size(tensor)
    if part == "shift" and _adds_bias(wiring, node, slots):
        return "bias"
    if node.op_type not in ("BatchNormalization", "PRelu") and size == 1:
        return None
    return part or "constant"


def _weight_part(wiring: Wiring, use: Use, tensor: TensorProto, types: Mapping[str, TypeProto]) -> str:
    """`weight`, or what else a smaller constant is that is computed into the weight (the factor of a weight norm)."""
    operand = types.get(use.node.input[use.slot])
    size = 1
    for dim in operand.tensor_type.shape.dim if operand is not None else ():
        size *= dim.dim_value
    if _size(tensor) < size:
        for name in use.path:
            part = role(wiring.node[name], 0)
            if part is not None:
                return part
    return "weight"


def _size(tensor: TensorProto) -> int:
    return math.prod(tensor.dims)


def _adds_bias(wiring: Wiring, node: NodeProto, slots: Mapping[str, tuple[int, int]]) -> bool:
    """Whether the Add comes right after a weighted layer that has no bias of its own."""
    moving = wiring.moving(node)
    if node.op_type != "Add" or len(moving) != 1:
        return False
    tensor = moving[0]
    while (before := wiring.producer.get(tensor)) is not None:
        if before.name in slots:
            slot = BIAS_SLOT.get(before.op_type, 99)
            return len(before.input) <= slot or not before.input[slot]
        if before.op_type not in ("Reshape", "Cast", "Identity", "DequantizeLinear", "QuantizeLinear", "Transpose"):
            return False
        tensor = before.input[0]
    return False


def _is_number(tensor: TensorProto) -> bool:
    return type_name(tensor.data_type) in _FLOATS | _QUANTISED


def _bad_type(tensor: TensorProto) -> str | None:
    name = type_name(tensor.data_type)
    return None if name in WORDS else f"its words are {name}, which faults cannot be put into yet"


def _why_not(tensor: TensorProto, ways: list[Use]) -> str:
    for use in ways:
        if (why := no_site(use.node, use.slot)) is not None:
            return f"{why} of {use.node.op_type}"
    if not ways:
        return "no node computes with it"
    if not _is_number(tensor):
        return f"shape, axis or index of {ways[0].node.op_type}"
    return f"a single number of the graph's arithmetic ({ways[0].node.op_type})"


def _follows(wiring: Wiring, place: dict[str, int]) -> dict[str, int]:
    """For each node that is no layer, the last layer that it depends on; absent where there is none before it."""
    behind: dict[str, int] = {}
    result: dict[str, int] = {}
    for node in wiring.graph.node:
        last = max((behind[name] for name in node.input if name in behind), default=-1)
        if node.name in place:
            last = place[node.name]
        elif last >= 0:
            result[node.name] = last
        if last >= 0:
            behind.update((output, last) for output in node.output if output)
    return result
