"""The operands of one output neuron: which input word and which weight its k-th product multiplies."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxfi.graph.cut import Node, int_attribute, ints_attribute

Array = np.ndarray[Any, Any]


class Operands:
    """Of a Conv, Gemm or MatMul: `count` products a neuron (Cin/group * kernel size, padding zeros included).

    `source`: golden rows of the op's input; `filters`: the weight with the output channel first (Cout, ...);
    `row`: the shape of one image's output row.
    """

    def __init__(self, node: Node, source: Array, filters: Array, row: tuple[int, ...]):
        self.count = int(filters[0].size)
        self._source, self._filters, self._row = source, filters, row
        self._conv = node.op_type == "Conv"
        if self._conv:
            spatial = source.ndim - 2
            kernel, size = filters.shape[2:], source.shape[2:]
            self._stride = np.array(ints_attribute(node, "strides", (1,) * spatial))
            self._dilation = np.array(ints_attribute(node, "dilations", (1,) * spatial))
            reach = (np.array(row[1:]) - 1) * self._stride + (np.array(kernel) - 1) * self._dilation + 1
            self._begin = _padding_before(node, reach - np.array(size))
            self._outputs_a_group = filters.shape[0] // int_attribute(node, "group", 1)

    def read(self, image: Array, neuron: Array, operand: Array) -> tuple[Array, Array]:
        """Input word x and weight w, both (T,), of products `operand` of neurons `neuron` (flat in the output row)."""
        where = np.unravel_index(neuron, self._row)
        if not self._conv:
            channel = where[-1]
            return self._source[(image, *where[:-1], operand)], self._filters[channel, operand]
        channel, position = where[0], np.stack(where[1:], axis=1)
        tap = np.unravel_index(operand, self._filters.shape[1:])
        at = position * self._stride - self._begin + np.stack(tap[1:], axis=1) * self._dilation
        size = np.array(self._source.shape[2:])
        inside = ((at >= 0) & (at < size)).all(axis=1)
        at = np.clip(at, 0, size - 1)
        source_channel = channel // self._outputs_a_group * self._filters.shape[1] + tap[0]
        x = self._source[(image, source_channel, *at.T)]
        return np.where(inside, x, np.zeros((), x.dtype)), self._filters[(channel, *tap)]


def _padding_before(node: Node, missing: Array) -> Array:
    """Zeros before the first input on each axis; `missing`: how much farther the kernels reach than the input does."""
    auto = next((a.s.decode() for a in node.attribute if a.name == "auto_pad"), "NOTSET")
    if auto.startswith("SAME"):
        total = np.maximum(missing, 0)
        return np.asarray(total // 2 if auto == "SAME_UPPER" else total - total // 2)
    return np.array(ints_attribute(node, "pads", (0,) * 2 * len(missing))[: len(missing)])
