"""Making ops pass NaN and infinity on as IEEE 754 and PyTorch do.

ONNX Runtime's CPU kernels of MaxPool, GlobalMaxPool, ReduceMax and ReduceMin drop a NaN or keep it by its position,
and a window of nothing but -inf pools to the lowest finite number. A Clip without one of its bounds takes the largest
finite number for it. A fault makes NaN and infinity where training never did, so each of these would mask faults.

What is mended, at the model's own opset:

- MaxPool, GlobalMaxPool, ReduceMax, ReduceMin of floats: every element gets a code, 0 for -inf, 1 for any other number,
  2 for NaN; the codes' maximum c over the same window corrects the result y to y - sqrt(1 - c) / c, which is y for
  c = 1 to the last bit, -inf for 0 and NaN for 2.
- MaxPool from opset 11 on pays for that only where it must: a plane (one image's one channel) whose mean is finite
  holds neither NaN nor infinity and stays as it is; the others are gathered, pooled again with codes, and put back.
  Measured on one CPU thread, a MaxPool takes 1.35 to 1.6 times as long that way, and 4.5 to 8 times with codes
  everywhere; a model below opset 11 with large MaxPools had better go through `to_opset(model, 11)` before.
- Clip of floats without a bound: the bound is written out, as infinity.

What is left, and named by `traps`: MaxPool whose Indices are read, ArgMax, ArgMin and TopK (a position cannot be NaN),
ThresholdedRelu (its definition, y = x if x > alpha else 0, has no NaN). Gelu(inf) and HardSwish(3e38) are right in ONNX
Runtime (inf, 3e38) and wrong in PyTorch (NaN, inf). Integer pooling has no NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper

from onnxfi.graph.dtypes import element_types
from onnxfi.graph.opset import opset_of
from onnxfi.graph.patch import Patch
from onnxfi.graph.tidy import set_nodes

LABEL = "nan_safe"
"""Part of the name of every tensor and node that `make_nan_safe` adds."""

_POOLS = frozenset({"MaxPool", "GlobalMaxPool", "ReduceMax", "ReduceMin"})
_PICKS = frozenset({"ArgMax", "ArgMin", "TopK", "ThresholdedRelu"})
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
_DEFAULT = ("", "ai.onnx")


def make_nan_safe(model: ModelProto) -> ModelProto:
    """A copy of `model` whose pooling and clipping pass NaN and infinity on; every tensor keeps its name.

    Numbers are the same to the last bit where neither occurs. Doing it twice changes nothing more. The nodes must be
    in topological order. Not changed: what `traps` names, and sub-graphs of control flow.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    types = element_types(copy)
    read = _read(copy)
    mend = _Mend(Patch(graph, LABEL), types, opset_of(copy))
    nodes: list[NodeProto] = []
    for node in graph.node:
        if _is_ours(node) or types.get(node.input[0] if node.input else "") not in _FLOATS:
            nodes.append(node)
        elif _pools(node, read):
            nodes.extend(mend.pooling(node))
        elif node.op_type == "Clip" and node.domain in _DEFAULT:
            nodes.append(mend.clip(node))
        else:
            nodes.append(node)
    set_nodes(graph, nodes)
    graph.initializer.extend(mend.patch.constants)
    return copy


def traps(model: ModelProto) -> tuple[str, ...]:
    """One sentence for each node of `model` whose answer to NaN stays ONNX Runtime's own."""
    types = element_types(model)
    read = _read(model)
    said = []
    for node in model.graph.node:
        if node.domain not in _DEFAULT or not node.input or types.get(node.input[0]) not in _FLOATS:
            continue
        if node.op_type in _PICKS:
            said.append(f"node {node.name!r} ({node.op_type}) answers NaN by its position in the tensor")
        elif node.op_type == "MaxPool" and not _pools(node, read):
            said.append(f"node {node.name!r} (MaxPool) also writes indices, so it drops NaN as ONNX Runtime does")
    return tuple(said)


def _read(model: ModelProto) -> frozenset[str]:
    graph = model.graph
    return frozenset(name for node in graph.node for name in node.input) | {v.name for v in graph.output}


def _is_ours(node: NodeProto) -> bool:
    return f"/{LABEL}/" in node.name or any(f"/{LABEL}/" in name for name in node.output)


def _pools(node: NodeProto, read: frozenset[str]) -> bool:
    """Whether this node takes a maximum (minimum) and nobody reads the indices of it."""
    return node.op_type in _POOLS and node.domain in _DEFAULT and not any(o in read for o in node.output[1:] if o)


class _Mend:
    """Writes the mended form of one node after the other."""

    def __init__(self, patch: Patch, types: dict[str, int], opset: int) -> None:
        self.patch = patch
        self.types = types
        self.opset = opset
        self._kept: dict[tuple[str, str], str] = {}

    def clip(self, node: NodeProto) -> NodeProto:
        """The same Clip with the bounds that it lacks."""
        dtype = self._dtype(node)
        clip = _like(node)
        if self.opset < 11:
            given = {a.name for a in node.attribute}
            for name, bound in (("min", -np.inf), ("max", np.inf)):
                if name not in given:
                    clip.attribute.append(helper.make_attribute(name, float(bound)))
            return clip
        bounds = [*node.input[1:], "", ""][:2]
        clip.input[1:] = [
            given or self._constant(f"{part}inf", value, dtype)
            for given, part, value in zip(bounds, "-+", (-np.inf, np.inf), strict=True)
        ]
        return clip

    def pooling(self, node: NodeProto) -> list[NodeProto]:
        """The nodes that take this one's place; the last of them writes its output."""
        y, x, dtype = node.output[0], node.input[0], self._dtype(node)
        plain = _like(node)
        plain.output[:] = [self.patch.fresh(y, "plain")]
        self.patch.nodes.append(plain)
        if node.op_type != "MaxPool" or self.opset < 11:
            self._corrected(node, y, x, plain.output[0], dtype, out=y)
        else:
            self._by_planes(node, y, x, plain.output[0], dtype)
        return self.patch.take()

    def _by_planes(self, node: NodeProto, y: str, x: str, plain: str, dtype: np.dtype[np.generic]) -> None:
        add = self.patch.node
        rank = 2 + len(next(a.ints for a in node.attribute if a.name == "kernel_shape"))
        mean = self._with_axes("ReduceMean", 18, y, "mean", x, range(2, rank), keepdims=0)
        nothing = add("Sub", y, "zero_or_nan", mean, mean)
        where = add("NonZero", y, "which", add("IsNaN", y, "suspect", nothing))
        planes = add("Transpose", y, "planes", where)
        picked = self._with_axes("Unsqueeze", 13, y, "picked", add("GatherND", y, "gathered", x, planes), [1])
        again = self._same_op(node, "again", picked)
        right = self._corrected(node, y, picked, again, dtype)
        back = self._with_axes("Squeeze", 13, y, "right", right, [1])
        add("ScatterND", y, "put_back", plain, planes, back, out=y)

    def _corrected(
        self, node: NodeProto, y: str, x: str, pooled: str, dtype: np.dtype[np.generic], out: str | None = None
    ) -> str:
        """`pooled` - sqrt(1 - c) / c, c being the greatest code of the window."""
        add = self.patch.node
        nan = add("Cast", y, "nan", self._is_nan(y, x, dtype), to=self._elem(dtype))
        number = add("Greater", y, "above", x, self._constant("-inf", -np.inf, dtype))
        code = add("Sum", y, "code", nan, nan, add("Cast", y, "number", number, to=self._elem(dtype)))
        if node.op_type == "ReduceMin":
            code = add("Neg", y, "greatest", self._same_op(node, "least", add("Neg", y, "minus_code", code)))
        else:
            code = self._same_op(node, "greatest", code)
        root = add("Sqrt", y, "root", add("Sub", y, "rest", self._constant("one", 1, dtype), code))
        return add("Sub", y, "corrected", pooled, add("Div", y, "correction", root, code), out=out)

    def _is_nan(self, y: str, x: str, dtype: np.dtype[np.generic]) -> str:
        """bool: where `x` is NaN. Before IsNaN (opset 9): where it is neither below one nor above zero."""
        add = self.patch.node
        if self.opset >= 9:
            return add("IsNaN", y, "is_nan", x)
        below = add("Less", y, "below_one", x, self._constant("one", 1, dtype))
        over = add("Greater", y, "above_zero", x, self._constant("zero", 0, dtype))
        return add("Not", y, "is_nan", add("Or", y, "is_number", below, over))

    def _same_op(self, node: NodeProto, part: str, x: str) -> str:
        """The node's own op, attributes and further inputs, on `x`."""
        other = _like(node)
        other.name = self.patch.fresh(node.output[0], part)
        other.input[0] = x
        other.output[:] = [other.name]
        self.patch.nodes.append(other)
        return other.name

    def _with_axes(self, op: str, since: int, y: str, part: str, x: str, axes: ArrayLike, **more: Any) -> str:
        """A node whose axes are an attribute before opset `since` and an input from then on."""
        listed = [int(a) for a in np.asarray(axes).tolist()]
        if self.opset < since:
            return self.patch.node(op, y, part, x, axes=listed, **more)
        name = "axes_" + "_".join(map(str, listed))
        return self.patch.node(op, y, part, x, self._constant(name, listed, np.dtype(np.int64)), **more)

    def _constant(self, what: str, value: ArrayLike, dtype: np.dtype[np.generic]) -> str:
        """The model's one constant of that value and dtype."""
        key = (what, dtype.name)
        if key not in self._kept:
            array: NDArray[np.generic] = np.asarray(value, dtype)
            self._kept[key] = self.patch.constant(dtype.name, what, array)
        return self._kept[key]

    def _dtype(self, node: NodeProto) -> np.dtype[np.generic]:
        return helper.tensor_dtype_to_np_dtype(self.types[node.input[0]])

    @staticmethod
    def _elem(dtype: np.dtype[np.generic]) -> int:
        return int(helper.np_dtype_to_tensor_dtype(dtype))


def _like(node: NodeProto) -> NodeProto:
    """A copy of the node that writes its first output only."""
    copy = NodeProto()
    copy.CopyFrom(node)
    del copy.output[1:]
    return copy
