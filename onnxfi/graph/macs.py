"""What a node costs, in multiply-accumulates for one image: the weight of a partial run in `equivalent_inferences`."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import onnx


def macs(model: onnx.ModelProto, sizes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """Multiply-accumulates of each node by its name; 0 for what is no convolution or product.

    `sizes`: the shape of one image's share of each activation, and the shape of each initializer.
    """
    return {node.name: _cost(node, sizes) for node in model.graph.node}


def _cost(node: onnx.NodeProto, sizes: Mapping[str, tuple[int, ...]]) -> int:
    kind = node.op_type
    if kind not in _WEIGHT_SLOT or any(name not in sizes for name in (node.input[0], node.output[0])):
        return 0
    weight = sizes.get(node.input[_WEIGHT_SLOT[kind]])
    if not weight:
        return 0
    if kind == "ConvTranspose":
        return prod(sizes[node.input[0]]) * prod(weight[1:])
    if "Conv" in kind:
        return prod(sizes[node.output[0]]) * prod(weight[1:])
    inner = sizes[node.input[0]][-1] if sizes[node.input[0]] else 1
    return prod(sizes[node.output[0]]) * inner


_WEIGHT_SLOT = {
    "Conv": 1,
    "ConvTranspose": 1,
    "ConvInteger": 1,
    "QLinearConv": 3,
    "Gemm": 1,
    "MatMul": 1,
    "MatMulInteger": 1,
    "QLinearMatMul": 3,
}
