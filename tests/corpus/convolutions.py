"""Every kind of convolution, each in a model of its own: the convolution, Relu, pooling, a dense layer."""

from __future__ import annotations

from functools import partial
from typing import Any

import onnx

from .build import Build
from .case import case, enter

# name -> (about, input channels, output channels, options of Build.conv)
KINDS: dict[str, tuple[str, int, int, dict[str, Any]]] = {
    "conv_plain": ("3x3, no bias", 3, 4, {}),
    "conv_bias": ("3x3 with bias", 3, 4, {"bias": True}),
    "conv_stride": ("stride 2", 3, 4, {"strides": [2, 2], "bias": True}),
    "conv_dilation": ("dilation 2", 3, 4, {"dilations": [2, 2], "pads": [2, 2, 2, 2]}),
    "conv_asymmetric": ("other padding on each side", 3, 4, {"pads": [0, 1, 2, 3], "bias": True}),
    "conv_rectangular": ("kernel 1x3, stride 1x2", 3, 4, {"kernel": (1, 3), "strides": [1, 2]}),
    "conv_unpadded": ("5x5 without padding", 3, 4, {"kernel": (5, 5), "pads": [0, 0, 0, 0]}),
    "conv_same_upper": ("auto_pad SAME_UPPER, stride 2", 3, 4, {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    "conv_same_lower": ("auto_pad SAME_LOWER, kernel 2", 3, 4, {"auto_pad": "SAME_LOWER", "kernel": (2, 2)}),
    "conv_valid": ("auto_pad VALID", 3, 4, {"auto_pad": "VALID", "bias": True}),
    "conv_pointwise": ("1x1", 3, 8, {"kernel": (1, 1), "bias": True}),
    "conv_pointwise_stride": ("1x1, stride 2", 3, 4, {"kernel": (1, 1), "strides": [2, 2]}),
    "conv_one_filter": ("a single filter", 3, 1, {"bias": True}),
    "conv_grouped": ("two groups", 4, 6, {"group": 2, "bias": True}),
    "conv_grouped_stride": (
        "three groups of one input channel and two filters, stride 2",
        3,
        6,
        {"group": 3, "strides": [2, 2]},
    ),
    "conv_depthwise": ("depthwise", 3, 3, {"group": 3, "bias": True}),
    "conv_depthwise_stride": ("depthwise, stride 2, no bias", 4, 4, {"group": 4, "strides": [2, 2]}),
    "conv_depthwise_double": ("depthwise with multiplier 2", 3, 6, {"group": 3}),
}


def _conv(name: str, into: int, out: int, options: dict[str, Any]) -> onnx.ModelProto:
    b = Build(name, shape=(into, 8, 8))
    return b.head(b.op("Relu", b.conv(b.image, into, out, name="conv", **options)), out)


for _name, (_about, _into, _out, _options) in KINDS.items():
    _tags = {"conv"} | ({"depthwise"} if _options.get("group") == _into else set())
    enter(_name, f"Conv: {_about}", partial(_conv, _name, _into, _out, _options), 2, _tags)


@case(2, "conv")
def conv_1d() -> onnx.ModelProto:
    """Conv over one dimension"""
    b = Build("conv_1d", shape=(3, 16))
    return b.head(b.op("Relu", b.conv(b.image, 3, 4, (5,), name="conv", bias=True, strides=[2])), 4)


@case(2, "conv")
def conv_3d() -> onnx.ModelProto:
    """Conv over three dimensions"""
    b = Build("conv_3d", shape=(2, 4, 5, 6))
    return b.head(b.op("Relu", b.conv(b.image, 2, 4, (3, 3, 3), name="conv", bias=True)), 4)


def _transposed(name: str, group: int, bias: bool, **attributes: Any) -> onnx.ModelProto:
    b = Build(name, shape=(4, 4, 4))
    weights = [b.keep(b.filters(4, 6 // group, 3, 3), "up.weight")]
    if bias:
        weights.append(b.keep(b.normal(6, scale=0.1), "up.bias"))
    up = b.op("ConvTranspose", b.image, *weights, name="/up/ConvTranspose", group=group, **attributes)
    return b.head(b.op("Relu", up), 6)


@case(2, "conv-transpose")
def conv_transpose() -> onnx.ModelProto:
    """ConvTranspose with bias, stride 2 and output_padding"""
    return _transposed("conv_transpose", 1, True, strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1])


@case(2, "conv-transpose")
def conv_transpose_grouped() -> onnx.ModelProto:
    """ConvTranspose in two groups, no bias, uneven padding"""
    return _transposed("conv_transpose_grouped", 2, False, strides=[1, 2], pads=[0, 1, 1, 0])


@case(3, "conv", "wide")
def conv_wide() -> onnx.ModelProto:
    """Wide enough that the runtime's kernels block their sums: 360 operands an output, 37 filters, odd sizes"""
    b = Build("conv_wide", shape=(3, 7, 9))
    x = b.op("Relu", b.conv(b.image, 3, 40, (1, 1), name="conv1", bias=True))
    return b.head(b.op("Relu", b.conv(x, 40, 37, name="conv2")), 37)
