"""From a stored word to the number that the layer's op reads.

Between an initializer and its op may stand Identity, Cast, DequantizeLinear, Transpose, Reshape and the like. The word
that flips is the stored one; what the op sees is found here word by word, so that one faulty word does not cost a
pass over the whole tensor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from onnxfi.graph.outside import values

Array = np.ndarray[Any, Any]
_SAME_ORDER = {"Reshape", "Flatten", "Squeeze", "Unsqueeze"}


@dataclass(frozen=True)
class Path:
    """The way of one initializer to its op. `stored` is the fault-free tensor in the file, `weight` what it reads."""

    nodes: tuple[onnx.NodeProto, ...]
    shapes: tuple[tuple[int, ...], ...]  # stored shape first, then after each node
    constants: Mapping[str, Array]
    stored: Array
    weight: Array

    def follow(self, index: Array, value: Array) -> tuple[Array, Array]:
        """Where the stored elements `index` (flat, int64[T]) with stored values `value` (T,) arrive, and as what."""
        for node, before, after in zip(self.nodes, self.shapes, self.shapes[1:], strict=False):
            if node.op_type == "Transpose":
                order = _attribute(node, "perm", tuple(reversed(range(len(before)))))
                where = np.unravel_index(index, before)
                index = np.ravel_multi_index(tuple(where[axis] for axis in order), after)
            elif node.op_type == "Cast":
                with np.errstate(over="ignore", invalid="ignore"):  # a faulty word may be beyond the narrower type
                    value = value.astype(helper.tensor_dtype_to_np_dtype(_attribute(node, "to", 1)))
            elif node.op_type == "BitCast":
                value = value.view(helper.tensor_dtype_to_np_dtype(_attribute(node, "to", 1)))
            elif node.op_type == "DequantizeLinear":
                value = self._dequantize(node, index, value, before)
        return index, value

    @property
    def plain(self) -> bool:
        """Whether words arrive as they are stored, wherever they go."""
        return all(node.op_type in {"Identity", "Transpose", *_SAME_ORDER} for node in self.nodes)

    @property
    def moves(self) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
        """What of the way changes the order of words: shape before, and order of axes, of each transpose."""
        return tuple(
            (before, tuple(_attribute(node, "perm", tuple(reversed(range(len(before)))))))
            for node, before in zip(self.nodes, self.shapes, strict=False)
            if node.op_type == "Transpose"
        )

    def _dequantize(self, node: onnx.NodeProto, index: Array, value: Array, shape: tuple[int, ...]) -> Array:
        scale = self.constants[node.input[1]]
        zero = self.constants[node.input[2]] if len(node.input) > 2 and node.input[2] else np.zeros_like(scale, "i4")
        if scale.size > 1:
            part = np.unravel_index(index, shape)[_attribute(node, "axis", 1) % len(shape)]
            scale, zero = scale.reshape(-1)[part], zero.reshape(-1)[part]
        else:
            scale, zero = scale.reshape(-1)[0], zero.reshape(-1)[0]
        return np.asarray((value.astype(np.int32) - zero.astype(np.int32)).astype(scale.dtype) * scale)


def find_path(model: onnx.ModelProto, tensor: str, nodes: Sequence[str]) -> Path | None:
    """The path of initializer `tensor` through the nodes named `nodes`; None where a node has no word-by-word rule."""
    by_name = {node.name: node for node in model.graph.node}
    constants = {t.name: t for t in model.graph.initializer}
    way = tuple(by_name[name] for name in nodes)
    stored = values(constants[tensor])
    if not way:
        return Path((), (stored.shape,), {}, stored, stored)
    if any(not _has_rule(node, constants) for node in way):
        return None
    others = {name: values(constants[name]) for node in way for name in node.input[1:] if name}
    shapes = [stored.shape]
    for node in way:
        shapes.append(_shape_after(model, node, shapes[-1], others))
    path = Path(way, tuple(shapes), others, stored, stored)
    index, value = path.follow(np.arange(stored.size, dtype=np.int64), stored.reshape(-1))
    weight = np.empty(stored.size, value.dtype)
    weight[index] = value
    return replace(path, weight=weight.reshape(shapes[-1]))


def _has_rule(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> bool:
    if any(name not in constants for name in node.input[1:] if name):
        return False
    if node.op_type == "DequantizeLinear":
        scale = constants[node.input[1]]
        return len(scale.dims) <= 1 and not _attribute(node, "block_size", 0)
    return node.op_type in {"Identity", "Cast", "BitCast", "Transpose"} | _SAME_ORDER


def _shape_after(
    model: onnx.ModelProto, node: onnx.NodeProto, shape: tuple[int, ...], constants: Mapping[str, Array]
) -> tuple[int, ...]:
    if node.op_type == "Transpose":
        return tuple(shape[axis] for axis in _attribute(node, "perm", tuple(reversed(range(len(shape))))))
    if node.op_type not in _SAME_ORDER:
        return shape
    others = [numpy_helper.from_array(constants[name], name) for name in node.input[1:] if name]
    source = helper.make_tensor_value_info(node.input[0], onnx.TensorProto.BOOL, shape)
    graph = helper.make_graph([node], "shape", [source], [onnx.ValueInfoProto(name=node.output[0])], others)
    piece = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    moved: Any = ReferenceEvaluator(piece).run(None, {node.input[0]: np.zeros(shape, bool)})
    return tuple(np.asarray(moved[0]).shape)


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    for attribute in node.attribute:
        if attribute.name == name:
            return helper.get_attribute_value(attribute)
    return default
