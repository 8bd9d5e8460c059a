"""Heads: what a fault in a layer's parameter does to one output channel, found without running the layer.

One faulty filter makes one channel wrong. The head computes that channel alone, for many faults on many images at
once, and follows it through the channelwise chain after the layer. Which arrangement of the op gives ONNX Runtime's
own bits is not assumed but proven: a head is only used once fault-free channels come out of it exactly as the golden
pass wrote them. Where no arrangement does, the tail starts at the initializer instead (the general way, right for
every op, one run a fault).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from onnxfi.engine.golden import Golden
from onnxfi.engine.probe import ELEM_TYPES, Probe
from onnxfi.engine.session import STEP, Session
from onnxfi.engine.tail import Patch, equal_words
from onnxfi.errors import EngineError
from onnxfi.graph.chain import Chain, constant
from onnxfi.graph.cut import Model, Node, int_attribute
from onnxfi.graph.fault_node import chain_model, op_model
from onnxfi.graph.path import Path

Array = np.ndarray[Any, Any]
_BYTES_A_RUN = 16 << 20
_ROWS, _MOST_ROWS = 32, 256  # as many as the second where they fit the cache of a core
_CACHE_BYTES = 1 << 20
_FEW_OUTPUTS = 16


@dataclass(frozen=True)
class Channels:
    """Output channels to compute, one a row: (image, channel) int64 (R,), and the numbers that make them.

    `filters` (R, *filter shape), `bias` (R,) or None, `parameters` (R,) for each per-channel constant of the chain.
    """

    image: Array
    channel: Array
    filters: Array
    bias: Array | None
    parameters: Mapping[str, Array]

    def part(self, start: int, stop: int, full: int) -> Channels:
        """Rows start..stop, filled up to `full` rows by repeating the last."""
        pick = np.minimum(np.arange(start, start + full), stop - 1)
        bias = None if self.bias is None else self.bias[pick]
        return Channels(
            self.image[pick],
            self.channel[pick],
            self.filters[pick],
            bias,
            {name: value[pick] for name, value in self.parameters.items()},
        )


class _Op(Protocol):
    """One arrangement of a layer's op."""

    rows: int

    def run(self, channels: Channels) -> Array:
        """The op's output channels (R, *rest) for exactly `rows` rows."""


def _rows(size: int) -> int:
    """Rows that share a run, of `size` bytes each."""
    most = np.clip(_CACHE_BYTES // max(size, 1), _ROWS, _MOST_ROWS)
    return int(np.clip(_BYTES_A_RUN // max(size, 1), 2, most))


class _PairedConv:
    """Grouped Conv, one group a row: each row's own image and filter, `copies` times over.

    ONNX Runtime picks its kernel by the number of filters in a group; with the right number the bits are the layer's.
    """

    def __init__(self, model: Model, node: Node, source: Array, channels: int, copies: int, bias: bool):
        groups = int_attribute(node, "group", 1)
        rank, size = source.ndim, source[0].nbytes // groups
        self.rows = _rows(size)
        self._copies, self._groups, self._source = copies, groups, source
        self._per_group = channels // groups
        ranks = {0: rank, 1: rank, **({2: 1} if bias else {})}
        elem_type = ELEM_TYPES[source.dtype.name]
        graph = op_model(node, elem_type, ranks, {"group": self.rows}, model)
        self._session = Session(graph.SerializeToString(), what=f"the head of node {node.name!r}")

    def run(self, channels: Channels) -> Array:
        n, c, *spatial = self._source.shape
        grouped = self._source.reshape(n, self._groups, c // self._groups, *spatial)
        picked = grouped[channels.image, channels.channel // self._per_group].reshape(1, -1, *spatial)
        feeds = {"i0": picked, "i1": np.repeat(channels.filters, self._copies, axis=0)}
        if channels.bias is not None:
            feeds["i2"] = np.repeat(channels.bias, self._copies)
        out = self._session.run(feeds)[0]
        return np.asarray(out.reshape(self.rows, self._copies, *out.shape[2:])[:, 0])


class _WholeConv:
    """Grouped Conv, one group a row, with all filters of the layer's group: the faulty one stands where it belongs.

    For maps of a few pixels, where ONNX Runtime's kernel hangs on a filter's place among the others.
    """

    def __init__(self, model: Model, node: Node, source: Array, filters: Array, biases: Array | None):
        self._groups = int_attribute(node, "group", 1)
        self._own = filters.reshape(self._groups, -1, *filters.shape[1:])
        self._biases = None if biases is None else biases.reshape(self._groups, -1)
        self._source = source
        self.rows = _rows(self._own[0].nbytes)
        ranks = {0: source.ndim, 1: source.ndim, **({2: 1} if biases is not None else {})}
        graph = op_model(node, ELEM_TYPES[source.dtype.name], ranks, {"group": self.rows}, model)
        self._session = Session(graph.SerializeToString(), what=f"the head of node {node.name!r}")

    def run(self, channels: Channels) -> Array:
        n, c, *spatial = self._source.shape
        group, place = np.divmod(channels.channel, self._own.shape[1])
        row = np.arange(self.rows)
        picked = self._source.reshape(n, self._groups, c // self._groups, *spatial)[channels.image, group]
        filters = self._own[group]
        filters[row, place] = channels.filters
        feeds = {"i0": picked.reshape(1, -1, *spatial), "i1": filters.reshape(-1, *filters.shape[2:])}
        if self._biases is not None and channels.bias is not None:
            biases = self._biases[group]
            biases[row, place] = channels.bias
            feeds["i2"] = biases.reshape(-1)
        out = self._session.run(feeds)[0]
        return np.asarray(out.reshape(self.rows, self._own.shape[1], *out.shape[2:])[row, place])


class _StackedDense:
    """Gemm or MatMul with every row's faulty column beside the others, `width` columns in all; row j keeps column j."""

    def __init__(self, model: Model, node: Node, source: Array, filters: Array, width: int, bias: bool):
        self._transposed = int_attribute(node, "transB")
        self.rows = min(width, _ROWS)
        self._source = source
        self._columns = np.resize(filters, (width, filters.shape[1]))
        self._width, self._bias = width, bias
        elem_type = ELEM_TYPES[source.dtype.name]
        graph = op_model(node, elem_type, {0: 2, 1: 2, **({2: 1} if bias else {})}, {}, model)
        self._session = Session(graph.SerializeToString(), what=f"the head of node {node.name!r}")

    def run(self, channels: Channels) -> Array:
        picked = self._source[channels.image]
        flat = picked.reshape(-1, picked.shape[-1])
        self._columns[: self.rows] = channels.filters
        weight = self._columns if self._transposed else np.ascontiguousarray(self._columns.T)
        filled = np.resize(flat, (-(-len(flat) // STEP) * STEP, flat.shape[1]))
        feeds = {"i0": filled, "i1": weight}
        if channels.bias is not None:
            feeds["i2"] = np.resize(channels.bias, self._width)
        out = self._session.run(feeds)[0][: len(flat)].reshape(*picked.shape[:-1], self._width)
        own = np.arange(self.rows)
        return np.asarray(out[own, ..., own])


class Head:
    """A layer's head: proven, or refused with EngineError at construction.

    `chain` starts at the op's output; `axis` is the channel axis in that tensor's row; `source` names the op's input.
    """

    def __init__(
        self,
        model: Model,
        node: Node,
        source: str,
        weight: Path,
        bias: Path | None,
        chain: Chain,
        axis: int,
        probe: Probe,
        golden: Golden,
    ):
        self.chain, self.axis = chain, axis
        self.weight_path, self.bias_path = weight, bias
        self.rows_run = 0
        self._golden = golden
        self._row = probe.rows(chain.start).shape
        self._rest = tuple(d for a, d in enumerate(self._row) if a != axis)
        self.channels = self._row[axis]
        self.macs = int(np.prod(self._rest, dtype=np.int64)) * weight.weight.size // self.channels
        self._dense = node.op_type != "Conv"
        self._transposed = self._dense and not int_attribute(node, "transB")
        self.filters = filters_of(node, weight.weight)
        self._bias = None if bias is None else np.resize(bias.weight, self.channels)
        self.parameters = {name: constant(model, name).reshape(-1) for name in dict.fromkeys(chain.parameters)}
        self._places = None if axis == 0 else np.moveaxis(np.arange(np.prod(self._row)).reshape(self._row), axis, 0)
        self._chain = None
        if chain.links:
            graph = chain_model(chain, probe.rows(chain.start).layout, len(self._rest), model)
            self._chain = Session(graph.SerializeToString(), what=f"the chain after node {node.name!r}")
        self._op = self._proven(model, node, golden[source])

    def run(self, channels: Channels) -> Array:
        """The channels (R, *rest) at the end of the chain."""
        count, parts = len(channels.image), []
        for start in range(0, count, self._op.rows):
            stop = min(start + self._op.rows, count)
            part = channels.part(start, stop, self._op.rows)
            parts.append(self.follow(part, self._op.run(part))[: stop - start])
            self.rows_run += self._op.rows
        return np.concatenate(parts) if parts else np.empty((0, *self._rest), self.filters.dtype)

    def follow(self, channels: Channels, values: Array) -> Array:
        """`values` (R, *rest) at the op's output, taken through the chain."""
        golden = [self.golden_channels(name, channels.image, channels.channel) for name in self.chain.golden]
        return self._follow(values, golden, channels.parameters)

    def follow_elements(self, image: Array, channel: Array, site: Array, values: Array) -> Array:
        """Single words `values` (R,) at the flat place `site` (R,) of the op's output row, taken through the chain."""
        single = (len(values), *(1,) * len(self._rest))
        rows = [self._golden[name] for name in self.chain.golden]
        golden = [row.reshape(len(row), -1)[image, site].reshape(single) for row in rows]
        parameters = {name: value[channel] for name, value in self.parameters.items()}
        return self._follow(values.reshape(single), golden, parameters).reshape(-1)

    def _follow(self, values: Array, golden: list[Array], parameters: Mapping[str, Array]) -> Array:
        if self._chain is None:
            return values
        feeds = {"channel": values[None], **{f"golden_{i}": value[None] for i, value in enumerate(golden)}}
        links = [(link, o.tensor) for link in self.chain.links for o in link.operands if o.kind == "parameter"]
        for i, (link, name) in enumerate(links):
            narrow = link.node.op_type == "BatchNormalization"
            shape = (-1,) if narrow else (1, -1, *(1,) * (values.ndim - 1))
            feeds[f"parameter_{i}"] = parameters[name].reshape(shape)
        return np.asarray(self._chain.run(feeds)[0][0])

    def golden_channels(self, tensor: str, image: Array, channel: Array) -> Array:
        """Golden channels (R, *rest) of a tensor shaped as the op's output."""
        return np.ascontiguousarray(np.moveaxis(self._golden[tensor], self.axis + 1, 1)[image, channel])

    def locate(self, index: Array) -> tuple[Array, Array]:
        """Channel and place in its filter (flat) of elements `index` (flat, in the op's own layout) of the weight."""
        if self._transposed:
            within, channel = np.divmod(index, self.channels)
            return channel, within
        return np.divmod(index, self.filters[0].size)

    def patch(self, channels: Array, channel: Array) -> Patch:
        """The patch that puts whole channels (R, *rest) in the place of each row's `channel`."""
        if self._places is None:
            return Patch(channels, channel=channel)
        where = self._places[channel].reshape(len(channel), -1)
        return Patch(channels.reshape(len(channel), -1), where=where)

    def fault_free(self, image: Array, channel: Array) -> Channels:
        """Channels with the numbers as they are stored."""
        bias = None if self._bias is None else self._bias[channel]
        parameters = {name: value[channel] for name, value in self.parameters.items()}
        return Channels(image, channel, self.filters[channel], bias, parameters)

    def _proven(self, model: Model, node: Node, source: Array) -> _Op:
        images = min(4, len(source))
        channel = np.unique(np.linspace(0, self.channels - 1, 64).astype(np.int64))
        image = np.arange(len(channel)) % images
        wanted = self.golden_channels(self.chain.end, image, channel)
        for op in self._arrangements(model, node, source):
            self._op = op
            if equal_words(self.run(self.fault_free(image, channel)), wanted).all():
                return op
        raise EngineError(f"No head of node {node.name!r} gives the layer's own bits.")

    def _arrangements(self, model: Model, node: Node, source: Array) -> Iterator[_Op]:
        biased = self._bias is not None
        if self._dense:
            for width in sorted({min(64, self.channels), self.channels}):
                yield _StackedDense(model, node, source, self.filters, width, biased)
            return
        groups = int_attribute(node, "group", 1)
        outputs = int(np.prod(self._rest, dtype=np.int64))
        if outputs < _FEW_OUTPUTS:
            yield _WholeConv(model, node, source, self.filters, self._bias)
            return
        tried = [1, 2] if groups == source.shape[1] else [2, 1]
        if outputs + 1 <= 2 * self.channels:
            tried.append(outputs + 1)
        for copies in tried:
            yield _PairedConv(model, node, source, self.channels, copies, biased)


def filters_of(node: Node, weight: Array) -> Array:
    """The weight of a Conv, Gemm or MatMul with its output channel first."""
    if node.op_type == "Conv" or int_attribute(node, "transB"):
        return weight
    return np.ascontiguousarray(weight.T)
