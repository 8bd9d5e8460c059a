"""Convolutions that multiply as NVIDIA's tensor cores do in TF32, written into the graph.

PyTorch lets cuDNN use TF32 on GPUs of the Ampere generation and newer: both operands of a convolution are rounded to
eleven significant bits, sums are kept in float32. Of a stored weight the twelve lowest bits then count for nothing.
cuDNN chooses for each layer; the published campaign tells by its masked counts which layers those were.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

_DROPPED = 13  # of a float32's 23 bits of mantissa, those that TF32 has not


def in_tf32(model: onnx.ModelProto, weights: Collection[str]) -> onnx.ModelProto:
    """A copy of `model` in which the convolutions by the initializers `weights` take both operands rounded.

    The stored weights stay as they are, but with arithmetic behind them their layers are none that a list can name:
    this is for faults elsewhere.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    nodes = list(graph.node)
    del graph.node[:]
    done: dict[str, str] = {}
    for node in nodes:
        if node.op_type == "Conv" and node.input[1] in weights:
            for slot, name in enumerate(node.input[:2]):
                if name not in done:
                    graph.node.extend(_rounded(name))
                    done[name] = f"{name}.tf32"
                node.input[slot] = done[name]
        graph.node.append(node)
    numbers = {"tf32.split": 2.0**42 + 1, "tf32.away": 1 + 2.0**-40}
    graph.initializer.extend(numpy_helper.from_array(np.float64(v), name) for name, v in numbers.items())
    return copy


def _rounded(x: str) -> list[onnx.NodeProto]:
    """Nodes that round `x` to TF32: Veltkamp's splitting, c - (c - x) with c = (2^42 + 1) x, in float64.

    That leaves 53 - 42 bits. What lies between two numbers is first moved a little away from zero, where it belongs.
    """

    def node(op: str, out: str, *inputs: str, **attributes: int) -> onnx.NodeProto:
        return helper.make_node(op, list(inputs), [f"{x}.{out}"], name=f"{x}.{out}", **attributes)

    return [
        node("Cast", "wide", x, to=onnx.TensorProto.DOUBLE),
        node("Mul", "away", f"{x}.wide", "tf32.away"),
        node("Mul", "split", f"{x}.away", "tf32.split"),
        node("Sub", "low", f"{x}.split", f"{x}.away"),
        node("Sub", "high", f"{x}.split", f"{x}.low"),
        node("Cast", "finite", f"{x}.high", to=onnx.TensorProto.FLOAT),
        node("IsInf", "is_infinite", x),
        node("Where", "tf32", f"{x}.is_infinite", x, f"{x}.finite"),
    ]


def rounded(words: NDArray[np.float32]) -> NDArray[np.float32]:
    """What tensor cores make of `words`, by bits: to nearest, ties away from zero. Infinities and NaN stay."""
    bits = np.ascontiguousarray(words).view(np.uint32)
    near = (bits + np.uint32(1 << (_DROPPED - 1))) & ~np.uint32((1 << _DROPPED) - 1)
    return np.where(np.isfinite(words), near.view(np.float32), words).astype(np.float32)
