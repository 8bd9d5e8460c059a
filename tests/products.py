"""One product of one neuron, for the oracle: found by walking the kernel; the op's output word by arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper

from onnxfi.faults.bits import Word
from onnxfi.faults.fault import Change

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Mac:
    """What one product of one neuron is made of: the wanted output word follows by arithmetic."""

    neuron: int
    x: Array
    w: Array
    before: Array

    def after(self, change: Change) -> Array:
        """The op's output word under the fault, one an image: DeepVigor+'s delta = (flip(x) - x) * w, added."""
        word = Word(self.x.dtype.name)
        with np.errstate(all="ignore"):
            faulty = word.values(change.apply(word.words(self.x)))
            return np.asarray(self.before + (faulty - self.x) * self.w)


def product(node: onnx.NodeProto, x: Array, filters: Array, y: Array, neuron: int, operand: int) -> Mac:
    """The product number `operand` of the neuron; x and y are the rows (images, ...) that the op reads and writes."""
    place = _flat_place(neuron, y.shape[1:])
    if node.op_type == "Conv":
        read, weight = _conv_product(node, x, filters, y, place, operand)
    else:
        turned = any(a.name == "transB" and a.i for a in node.attribute)
        read = _at(x, (*place[:-1], operand))
        weight = filters[place[-1], operand] if turned else filters[operand, place[-1]]
    return Mac(neuron, read.copy(), np.asarray(weight), _at(y, place).copy())


def _conv_product(
    node: onnx.NodeProto, x: Array, filters: Array, y: Array, place: Sequence[int], operand: int
) -> tuple[Array, Array]:
    """x (images,) and w of one product of a convolution: the definition, axis by axis."""
    spatial = x.ndim - 2
    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    strides, dilations = (list(given.get(name, [1] * spatial)) for name in ("strides", "dilations"))
    channel, *at = place
    within, *tap = _flat_place(operand, filters.shape[1:])
    group = channel // (filters.shape[0] // given.get("group", 1))
    index = []
    for axis in range(spatial):
        begin = list(given.get("pads", [0] * 2 * spatial))[axis]
        auto = given.get("auto_pad", b"NOTSET").decode()
        if auto.startswith("SAME"):
            reach = (y.shape[2 + axis] - 1) * strides[axis] + (filters.shape[2 + axis] - 1) * dilations[axis] + 1
            total = max(0, reach - x.shape[2 + axis])
            begin = total // 2 if auto == "SAME_UPPER" else total - total // 2
        index.append(at[axis] * strides[axis] - begin + tap[axis] * dilations[axis])
    weight = filters[(channel, within, *tap)]
    if all(0 <= i < x.shape[2 + axis] for axis, i in enumerate(index)):
        return _at(x, (group * filters.shape[1] + within, *index)), weight
    return np.zeros(len(x), x.dtype), weight


def _at(rows: Array, place: Sequence[int]) -> Array:
    """The number at one place of every row, (images,)."""
    return np.asarray(rows.reshape(len(rows), -1)[:, np.ravel_multi_index(tuple(place), rows.shape[1:])])


def _flat_place(index: int, shape: Sequence[int]) -> tuple[int, ...]:
    """Where the `index`-th number of a tensor of that shape lies."""
    return tuple(int(p) for p in np.unravel_index(index, tuple(shape)))
