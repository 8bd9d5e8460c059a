"""Which way each region's faults go: where the model is cut, and what finds the changed part there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onnxfi.engine.probe import Probe, Rows
from onnxfi.errors import EngineError
from onnxfi.faults.space import Region
from onnxfi.graph.chain import Chain, channel_chain
from onnxfi.graph.cut import Model, Node, SubGraph, crossing, int_attribute, sub_graph
from onnxfi.graph.layers import Layer, Parameter
from onnxfi.graph.network import Network
from onnxfi.graph.path import find_path

_FLOATS = ("float16", "float32", "float64")


@dataclass(frozen=True)
class Route:
    """The way of one region.

    head 'filter': a layer's parameter, through the layer's head to the end of `chain`; 'word': stored activation words
    at `tensor`; 'op': words that the layer's op writes (kinds output and mac), through `chain`; 'general': any other
    parameter, with the initializer itself as the tail's input.
    """

    region: Region
    head: str
    layer: Layer
    parameter: Parameter | None = None
    chain: Chain | None = None
    axis: int = 0

    @property
    def cut(self) -> str:
        """The tensor that the tail begins with."""
        return self.chain.end if self.chain else self.region.tensor


def find_route(network: Network, region: Region, probe: Probe) -> Route:
    """The way of `region`. Raises EngineError where the engine cannot go it, with the tensor's name."""
    layer = network.layers[region.layer]
    if region.kind == "input":
        probe.rows(region.tensor)
        return Route(region, "word", layer)
    chain, axis = layer_chain(network, layer, probe)
    if region.kind in ("output", "mac"):
        if region.kind == "mac":
            _check_mac(network, layer, probe)
        followed = chain if _plain(network, layer, probe) else None
        return Route(region, "op" if followed else "word", layer, chain=followed, axis=axis)
    parameter = next(p for p in layer.parameters if p.tensor == region.tensor)
    if chain and _head_reaches(network, layer, parameter, chain, probe):
        return Route(region, "filter", layer, parameter, chain, axis)
    return Route(region, "general", layer, parameter)


def layer_chain(network: Network, layer: Layer, probe: Probe) -> tuple[Chain | None, int]:
    """The layer's channelwise chain and its channel axis in the output's row; None where channels are not an axis."""
    kind = probe.kinds.get(layer.output)
    if not isinstance(kind, Rows):
        return None, 0
    axis = 0 if "Conv" in layer.op else len(kind.shape) - 1
    if "Conv" in layer.op and (kind.layout.axis or kind.layout.repeat > 1):
        return None, 0
    alike = {
        name: other.shape
        for name, other in probe.kinds.items()
        if isinstance(other, Rows) and _aligned(other, kind) and other.shape == kind.shape
    }
    return channel_chain(network.model, layer.output, network.output, alike, axis), axis


def tail_piece(network: Network, source: str, probe: Probe, model: Model | None = None) -> SubGraph:
    """The sub-graph from `source` (an activation or an initializer) to the output; of `model` where it is given."""
    return sub_graph(model or network.model, [source], [network.output], probe.value_type)


def golden_tensors(network: Network, routes: Sequence[Route], probe: Probe) -> tuple[str, ...]:
    """Every activation whose golden rows the routes may read, in a fixed order; the output is always one.

    Raises EngineError where a tail of theirs would need a tensor that has no rows.
    """
    names: dict[str, None] = {network.output: None}
    for source in dict.fromkeys(s for route in routes for s in (route.cut, route.region.tensor)):
        names[source] = None
        names.update(dict.fromkeys(crossing(network.model, [source], [network.output])))
    for name in names:
        if name in probe.kinds:
            probe.value_type(name)
    for route in routes:
        if route.chain:
            names.update(dict.fromkeys((route.chain.start, *route.chain.golden, route.layer.input)))
    return tuple(name for name in names if isinstance(probe.kinds.get(name), Rows))


def _head_reaches(network: Network, layer: Layer, parameter: Parameter, chain: Chain, probe: Probe) -> bool:
    """Whether one wrong word of `parameter` makes just one channel of `layer` wrong, in a way that the head knows."""
    if len(parameter.readers) != 1 or not _plain(network, layer, probe):
        return False
    if parameter.tensor in chain.parameters:
        return chain.parameters.count(parameter.tensor) == 1
    own = parameter.node == layer.node
    return own and (parameter.slot == 1 or (parameter.slot == 2 and _per_channel(parameter, layer, probe)))


def _plain(network: Network, layer: Layer, probe: Probe) -> bool:
    """Whether the layer's op is one that heads know: its weight at slot 1, images along the first axis of a Conv."""
    source, node = probe.kinds.get(layer.input), node_of(network.model, layer.node)
    if not isinstance(source, Rows) or source.dtype not in _FLOATS or node.input[0] != layer.input:
        return False
    if layer.op == "Conv":
        return source.layout.axis == 0 and source.layout.repeat == 1
    weight = layer.weight
    if layer.op == "Gemm":
        return not int_attribute(node, "transA") and weight is not None
    return layer.op == "MatMul" and weight is not None and len(weight.shape) == 2 and weight.slot == 1


def _per_channel(parameter: Parameter, layer: Layer, probe: Probe) -> bool:
    axis = 0 if layer.op == "Conv" else -1
    return parameter.elements == probe.rows(layer.output).shape[axis]


def _check_mac(network: Network, layer: Layer, probe: Probe) -> None:
    weight = layer.weight
    known = weight is not None and find_path(network.model, weight.tensor, weight.path) is not None
    if layer.op not in ("Conv", "Gemm", "MatMul") or not known or not _plain(network, layer, probe):
        raise EngineError(
            f"Layer {layer.id!r} ({layer.op}) has no operands of the kind that `--activation mac` changes: "
            "take --activation input or output, or leave the layer out with --layers."
        )


def _aligned(other: Rows, rows: Rows) -> bool:
    a, b = other.layout, rows.layout
    return (a.axis, a.repeat, a.minor, a.elem_type) == (b.axis, b.repeat, b.minor, b.elem_type)


def node_of(model: Model, name: str) -> Node:
    """The node called `name`."""
    found: Node = next(node for node in model.graph.node if node.name == name)
    return found
