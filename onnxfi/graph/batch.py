"""Freeing a batch size that the file fixes.

An exporter that was given one image writes the 1 into the input, and often into constants: the shape of a Reshape, the
end of a Slice, a class token that Concat joins to the image. `free_batch` proposes the same model with a free batch.
It reasons about shapes only, so what it returns is a proposal: the engine proves it by comparing outputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, TypeProto, helper, numpy_helper

from onnxfi.graph.dtypes import inferred
from onnxfi.graph.opset import opset_of
from onnxfi.graph.patch import Patch
from onnxfi.graph.tidy import prune, set_nodes

LABEL = "batch"
NAME = "batch"
"""The name of the freed dimension."""

_PROBE = 7
_END = np.iinfo(np.int64).max
_BROADCAST = frozenset({
    "Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Mean", "Where", "PRelu", "Equal", "Greater", "Less", "And",
    "Or", "Xor", "Mod", "Gemm",
})  # fmt: skip


def free_batch(model: ModelProto) -> ModelProto | None:
    """A copy of `model` whose batch dimension is free, or None where the file fixes none. Nodes must be sorted.

    Mended on the way: Reshape to constant shapes (the entry that holds the batch becomes -1, the others are written
    out), Slice that takes the whole batch, Resize and Expand to constant sizes, Concat with a constant that stands for
    every image (expanded at run time), constants with one equal row an image (one row is left). `value_info` goes,
    and so does what no output needs.
    """
    inputs = {v.name for v in model.graph.input} - {t.name for t in model.graph.initializer}
    fixed = {v.name: size for v in model.graph.input if v.name in inputs and (size := _first_dim(v)) > 0}
    if not fixed:
        return None
    copy = ModelProto()
    copy.CopyFrom(model)
    walk = _Walk(copy, inferred(model), dict.fromkeys(fixed, 0), next(iter(fixed.values())))
    nodes = [new for node in model.graph.node for new in walk.step(node)]
    graph = copy.graph
    set_nodes(graph, nodes)
    graph.initializer.extend(walk.patch.constants)
    del graph.value_info[:]
    for value in (*graph.input, *graph.output):
        if value.name in fixed or value.name not in inputs:
            _free(value, walk.axis.get(value.name), walk.batch)
    prune(copy)
    return copy


def _first_dim(value: onnx.ValueInfoProto) -> int:
    dims = value.type.tensor_type.shape.dim
    return int(dims[0].dim_value) if len(dims) > 1 else 0  # a vector is no batch of images


def _free(value: onnx.ValueInfoProto, axis: int | None, batch: int) -> None:
    for i, dim in enumerate(value.type.tensor_type.shape.dim):
        if i == axis and dim.dim_value == batch:
            dim.dim_param = NAME
        elif i == axis or axis is None:
            dim.Clear()


class _Walk:
    """Goes through the nodes in order and knows, for each tensor, its shape at the fixed batch and its batch axis."""

    def __init__(self, model: ModelProto, types: dict[str, TypeProto], axis: dict[str, int], batch: int) -> None:
        self.patch = Patch(model.graph, LABEL)
        self.axis = axis
        self.lead = dict.fromkeys(axis, 1)  # words on the batch axis that come before the images: 3 for (3 * batch)
        self.batch = batch
        self.types = types
        self.opset = opset_of(model)
        self.imports = list(model.opset_import)
        self.constants = {t.name: t for t in model.graph.initializer}
        self.expanded = {n.output[0]: n.input[0] for n in model.graph.node if n.op_type == "Expand"}

    def step(self, node: NodeProto) -> list[NodeProto]:
        """The node, mended where it has to be, after the nodes that it needs; notes its outputs' batch axes."""
        copy = NodeProto()
        copy.CopyFrom(node)
        if any(name in self.axis for name in node.input) and node.domain in ("", "ai.onnx"):
            if node.op_type == "Reshape":
                self._reshape(copy)
            elif node.op_type == "Slice":
                self._slice(copy)
            elif node.op_type == "Resize":
                self._resize(copy)
            elif node.op_type == "Expand":
                self._expand(copy)
            elif node.op_type == "Concat":
                self._concat(copy)
            elif node.op_type in _BROADCAST:
                self._broadcast(copy)
        self._follow(copy)
        return [*self.patch.take(), copy]

    def shape(self, tensor: str) -> list[int] | None:
        """The shape at the fixed batch, None where inference could not tell it all."""
        if tensor in self.constants:
            return list(self.constants[tensor].dims)
        if tensor not in self.types or not self.types[tensor].tensor_type.HasField("shape"):
            return None
        dims = self.types[tensor].tensor_type.shape.dim
        return [d.dim_value for d in dims] if all(d.HasField("dim_value") for d in dims) else None

    def _follow(self, node: NodeProto) -> None:
        """Find the batch axis of each output: infer the node's shapes with seven times the batch."""
        if not any(name in self.axis for name in node.input):
            return
        try:
            schema = onnx.defs.get_schema(node.op_type, self.opset, "" if node.domain == "ai.onnx" else node.domain)
            known = {name: self._grown(name) for name in node.input if name}
            data = {name: t for name in node.input if (t := self._constant(name)) is not None}
            made = onnx.shape_inference.infer_node_outputs(schema, node, known, data, opset_imports=self.imports)
        except Exception:  # an op without a schema, an input of unknown type, or shapes that do not go together
            made = {}
        lead = next(self.lead[name] for name in node.input if name in self.axis)
        for output in filter(None, node.output):
            before = self.shape(output)
            after = [d.dim_value for d in made[output].tensor_type.shape.dim] if output in made else []
            where = self._where(node.input[0], output) if node.op_type == "Reshape" else None
            if where is not None:
                self.axis[output], self.lead[output] = where
            elif before is not None and len(after) == len(before) and all(after):
                grown = [i for i, (b, a) in enumerate(zip(before, after, strict=True)) if a == b * _PROBE]
                if len(grown) == 1:
                    self.axis[output], self.lead[output] = grown[0], lead
            elif node.op_type not in ("Shape", "Size") and (before is None or (before and before[0] % self.batch == 0)):
                self.axis[output], self.lead[output] = 0, 1  # a guess, behind an op that onnx does not know

    def _type(self, tensor: str) -> TypeProto:
        if tensor in self.constants:
            stored = self.constants[tensor]
            return helper.make_tensor_type_proto(stored.data_type, list(stored.dims))
        return self.types[tensor]

    def _grown(self, tensor: str) -> TypeProto:
        """The tensor's type with seven times the batch."""
        grown = TypeProto()
        grown.CopyFrom(self._type(tensor))
        if tensor in self.axis:
            grown.tensor_type.shape.dim[self.axis[tensor]].dim_value *= _PROBE
        return grown

    def _constant(self, tensor: str) -> TensorProto | None:
        made = next((t for t in self.patch.constants if t.name == tensor), None)
        return made or self.constants.get(tensor)

    def _keep(self, node: NodeProto, part: str, value: NDArray[np.generic]) -> str:
        """A new constant for `node`."""
        name = self.patch.constant(node.output[0], part, value)
        self.constants[name] = self.patch.constants[-1]
        return name

    def _where(self, data: str, output: str) -> tuple[int, int] | None:
        """The axis of a reshaped tensor that the batch comes to lie on, and the words before the images on it.

        Words keep their order, so as many stand before the images afterwards as did before. Of several such axes (ones
        among them) the first that begins with the images is taken; the last axis holds features and comes last.
        """
        before, after = self.shape(data), self.shape(output)
        if before is None or after is None or data not in self.axis:
            return None
        outer = math.prod(before[: self.axis[data]]) * self.lead[data]
        found = []
        for i, size in enumerate(after):
            outside = math.prod(after[:i])
            if outer % outside == 0 and outside * size % (outer * self.batch) == 0:
                lead = outer // outside
                found.append((i == len(after) - 1, lead > 1, i, lead))
        return min(found)[2:] if found else None

    def _reshape(self, node: NodeProto) -> None:
        shape = self._constant(node.input[1]) if len(node.input) > 1 else None
        if node.input[0] not in self.axis or shape is None:
            return
        where, result = self._where(node.input[0], node.output[0]), self.shape(node.output[0])
        if where is not None and result is not None:
            new = [-1 if i == where[0] else size for i, size in enumerate(result)]
        else:
            new = [int(n) for n in numpy_helper.to_array(shape)]
            if new and new[0] == self.batch:
                new[0] = 0 if -1 in new else -1
        node.input[1] = self._keep(node, "shape", np.array(new, np.int64))

    def _slice(self, node: NodeProto) -> None:
        """Where the slice takes all images, let it take all there are."""
        shape = self.shape(node.input[0])
        if node.input[0] not in self.axis or shape is None:
            return
        at = self.axis[node.input[0]]
        if self.opset < 10:
            lists = {a.name: a.ints for a in node.attribute}
            axes = list(lists.get("axes", range(len(lists["ends"]))))
            for i, axis in enumerate(axes):
                if axis % len(shape) == at and lists["starts"][i] == 0 and lists["ends"][i] >= shape[at]:
                    lists["ends"][i] = _END
            return
        parts = [self._constant(name) if name else None for name in (*node.input[1:], "", "")[:4]]
        if parts[0] is None or parts[1] is None:
            return
        starts, ends = (numpy_helper.to_array(p).astype(np.int64) for p in parts[:2] if p is not None)
        axes = [int(a) for a in numpy_helper.to_array(parts[2])] if parts[2] is not None else list(range(len(starts)))
        steps = numpy_helper.to_array(parts[3]) if parts[3] is not None else np.ones(len(starts), np.int64)
        whole = [
            i for i, a in enumerate(axes)
            if a % len(shape) == at and starts[i] == 0 and steps[i] == 1 and ends[i] >= shape[at]
        ]  # fmt: skip
        if whole:
            ends = ends.copy()
            ends[whole] = _END
            like = numpy_helper.to_array(parts[1]).dtype
            node.input[2] = self._keep(node, "ends", np.minimum(ends, np.iinfo(like).max).astype(like))

    def _resize(self, node: NodeProto) -> None:
        """Constant sizes name the batch as well: take it from the data when it runs."""
        sizes = self._constant(node.input[3]) if len(node.input) > 3 and node.input[3] else None
        if sizes is not None and node.input[0] in self.axis and not any(a.name == "axes" for a in node.attribute):
            given = [int(n) for n in numpy_helper.to_array(sizes)]
            node.input[3] = self._shape_with_batch(node, given, node.input[0])

    def _expand(self, node: NodeProto) -> None:
        """A one in the shape keeps what the data has."""
        shape, size = self._constant(node.input[1]), self.shape(node.input[0])
        if node.input[0] in self.axis and shape is not None and size is not None:
            new = numpy_helper.to_array(shape).copy()
            at = len(new) - len(size) + self.axis[node.input[0]]
            if at >= 0 and new[at] == size[self.axis[node.input[0]]]:
                new[at] = 1
                node.input[1] = self._keep(node, "shape", new)

    def _concat(self, node: NodeProto) -> None:
        """A constant joined to every image: expand it to as many images as there are."""
        moving = next(name for name in node.input if name in self.axis)
        at, rank = self.axis[moving], len(self.shape(moving) or [])
        joined = next((a.i for a in node.attribute if a.name == "axis"), 1)
        if not rank or joined % rank == at or self.opset < 8:
            return
        for slot, name in enumerate(node.input):
            one = None if name in self.axis else self._one_row(node, name, at)
            if one is not None:
                ones = [1] * rank
                wide = self._shape_with_batch(node, ones, moving)
                node.input[slot] = self.patch.node("Expand", node.output[0], "expanded", one, wide)
                self.types[node.input[slot]] = self._type(name)
                self.axis[node.input[slot]], self.lead[node.input[slot]] = at, self.lead[moving]

    def _broadcast(self, node: NodeProto) -> None:
        """A constant with one row an image, all alike: one row broadcasts to any number."""
        rank = max(len(self.shape(name) or []) for name in node.input if name)
        moving = next(name for name in node.input if name in self.axis)
        behind = len(self.shape(moving) or []) - self.axis[moving]
        if self.batch == 1 or rank < behind:
            return
        for slot, name in enumerate(node.input):
            at = len(self.shape(name) or []) - behind
            one = self._one_row(node, name, at) if name not in self.axis and at >= 0 else None
            if one is not None:
                node.input[slot] = one

    def _one_row(self, node: NodeProto, name: str, axis: int) -> str | None:
        """One row along `axis` of what no image changes, where it has one an image and all are alike."""
        shape = self.shape(name)
        if shape is None or len(shape) <= axis or shape[axis] != self.batch:
            return None
        if self.batch == 1:
            return name
        if name not in self.constants:
            narrow = self.shape(self.expanded.get(name, ""))
            return self.expanded[name] if narrow == [*shape[:axis], 1, *shape[axis + 1 :]] else None
        rows = numpy_helper.to_array(self.constants[name])
        first = rows.take([0], axis)
        alike = np.broadcast_to(first, rows.shape).tobytes() == rows.tobytes()
        return self._keep(node, "row", first) if alike else None

    def _shape_with_batch(self, node: NodeProto, dims: Sequence[int], moving: str) -> str:
        """A shape, made at run time: `dims` with the batch that `moving` has, on its axis."""
        add, y, at = self.patch.node, node.output[0], self.axis[moving]
        index = self._keep(node, "axis", np.array([at], np.int64))
        images = add("Gather", y, "images", add("Shape", y, "shape_of", moving), index)
        before = [self._keep(node, "before", np.array(dims[:at], np.int64))] if at else []
        after = [self._keep(node, "after", np.array(dims[at + 1 :], np.int64))] if dims[at + 1 :] else []
        return add("Concat", y, "wide_shape", *before, images, *after, axis=0)
