"""What a stored tensor is to the op that reads it: a weight, a bias, something of BatchNormalization, or no site.

Shapes, axes, bounds, quantisation scales and zero points are never sites: a fault there is a fault of the program,
not of a stored parameter.
"""

from __future__ import annotations

from onnx import NodeProto

LAYER_SLOTS: dict[str, tuple[tuple[int, int], ...]] = {
    "Conv": ((1, 0),),
    "ConvTranspose": ((1, 0),),
    "ConvInteger": ((1, 0),),
    "FusedConv": ((1, 0),),
    "Gemm": ((1, 0), (0, 1)),
    "FusedGemm": ((1, 0), (0, 1)),
    "MatMul": ((1, 0), (0, 1)),
    "FusedMatMul": ((1, 0), (0, 1)),
    "MatMulInteger": ((1, 0), (0, 1)),
    "QLinearConv": ((3, 0),),
    "QLinearMatMul": ((3, 0), (0, 3)),
    "QGemm": ((3, 0), (0, 3)),
}
"""Weighted ops: (slot of the weight, slot of the activation), in the order in which they are tried."""

BIAS_SLOT = {
    "Conv": 2,
    "ConvTranspose": 2,
    "FusedConv": 2,
    "Gemm": 2,
    "FusedGemm": 2,
    "QLinearConv": 8,
    "QGemm": 6,
}

_NORMS: dict[str, dict[int, str]] = {
    "BatchNormalization": {1: "scale", 2: "shift", 3: "mean", 4: "variance"},
    "LayerNormalization": {1: "scale", 2: "shift"},
    "InstanceNormalization": {1: "scale", 2: "shift"},
    "GroupNormalization": {1: "scale", 2: "shift"},
    "RMSNormalization": {1: "scale"},
    "SkipLayerNormalization": {2: "scale", 3: "shift", 4: "bias"},
    "SimplifiedLayerNormalization": {1: "scale"},
    "PRelu": {1: "scale"},
}
_AFFINE = {"Mul": "scale", "Div": "scale", "Add": "shift", "Sub": "shift", "Sum": "shift"}

_QUANTISATION = "quantisation scale or zero point"
_BOUND = "bound, shape or axis"
_BOUNDED = (
    "Clip", "Pad", "Resize", "Upsample", "Reshape", "Slice", "Split", "Squeeze", "Unsqueeze", "Expand", "Tile",
    "Gather", "GatherElements", "GatherND", "OneHot", "Range", "TopK", "ConstantOfShape", "CumSum", "Trilu",
    "Pow", "Dropout", "CenterCropPad", "AffineGrid", "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin",
    "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare",
)  # fmt: skip
_NO_SITE: dict[str, tuple[frozenset[int] | None, str]] = {
    # op: (slots, or None for all but slot 0; why)
    "QuantizeLinear": (frozenset({1, 2}), _QUANTISATION),
    "DequantizeLinear": (frozenset({1, 2}), _QUANTISATION),
    "ConvInteger": (frozenset({2, 3}), _QUANTISATION),
    "MatMulInteger": (frozenset({2, 3}), _QUANTISATION),
    "QLinearConv": (frozenset({1, 2, 4, 5, 6, 7}), _QUANTISATION),
    "QLinearMatMul": (frozenset({1, 2, 4, 5, 6, 7}), _QUANTISATION),
    "QGemm": (frozenset({1, 2, 4, 5, 7, 8}), _QUANTISATION),
    "QLinearAdd": (frozenset({1, 2, 4, 5, 6, 7}), _QUANTISATION),
    "QLinearMul": (frozenset({1, 2, 4, 5, 6, 7}), _QUANTISATION),
    "QLinearConcat": (None, _QUANTISATION),
    **dict.fromkeys(_BOUNDED, (None, _BOUND)),
}


def role(node: NodeProto, slot: int) -> str | None:
    """The role of what `node` reads at `slot` when it is no weighted layer's operand; None where it has no name."""
    if node.op_type in _NORMS:
        return _NORMS[node.op_type].get(slot)
    return _AFFINE.get(node.op_type)


def no_site(node: NodeProto, slot: int) -> str | None:
    """Why what `node` reads at `slot` is no site; None where it may be one."""
    if node.op_type.startswith("QLinear") and node.op_type not in _NO_SITE:
        return _QUANTISATION if slot else None
    slots, why = _NO_SITE.get(node.op_type, (frozenset[int](), ""))
    if slots is None:
        return why if slot else None
    return why if slot in slots else None
