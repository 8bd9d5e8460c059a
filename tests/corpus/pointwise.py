"""Activations, normalisations, per-channel arithmetic and pooling, each between a convolution and a dense layer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import onnx

from .build import Build
from .case import case, enter

Step = Callable[[Build, str], str]


def _scalar(b: Build, value: float) -> str:
    return b.keep(np.array(value, b.dtype))


def _channels(b: Build, scale: float = 0.5) -> str:
    return b.keep(b.normal(4, 1, 1, scale=scale, offset=0.3))


def _gelu_by_erf(b: Build, x: str) -> str:
    inner = b.op("Add", b.op("Erf", b.op("Div", x, _scalar(b, float(np.sqrt(2))))), _scalar(b, 1.0))
    return b.op("Mul", b.op("Mul", x, inner), _scalar(b, 0.5))


# name -> (about, opset, what is done to the 4 channels of the convolution)
ACTIVATIONS: dict[str, tuple[str, int, Step]] = {
    "relu": ("Relu", 20, lambda b, x: b.op("Relu", x)),
    "relu6": ("Clip with bounds as inputs", 20, lambda b, x: b.op("Clip", x, _scalar(b, 0.0), _scalar(b, 6.0))),
    "relu6_attributes": ("Clip with bounds as attributes", 10, lambda b, x: b.op("Clip", x, min=0.0, max=6.0)),
    "clip_lower": ("Clip with a lower bound only", 20, lambda b, x: b.op("Clip", x, _scalar(b, 0.0))),
    "clip_upper": ("Clip with an upper bound only", 20, lambda b, x: b.op("Clip", x, "", _scalar(b, 1.0))),
    "leaky_relu": ("LeakyRelu", 20, lambda b, x: b.op("LeakyRelu", x, alpha=0.1)),
    "prelu": ("PRelu, one slope a channel", 20, lambda b, x: b.op("PRelu", x, _channels(b))),
    "hard_swish": ("HardSwish", 20, lambda b, x: b.op("HardSwish", x)),
    "hard_swish_parts": ("HardSigmoid and Mul", 13, lambda b, x: b.op("Mul", x, b.op("HardSigmoid", x, alpha=1 / 6))),
    "sigmoid": ("Sigmoid", 20, lambda b, x: b.op("Sigmoid", x)),
    "swish": ("Sigmoid and Mul", 20, lambda b, x: b.op("Mul", x, b.op("Sigmoid", x))),
    "tanh": ("Tanh", 20, lambda b, x: b.op("Tanh", x)),
    "elu": ("Elu", 20, lambda b, x: b.op("Elu", x, alpha=0.7)),
    "selu": ("Selu", 20, lambda b, x: b.op("Selu", x)),
    "softplus": ("Softplus", 20, lambda b, x: b.op("Softplus", x)),
    "gelu": ("Gelu", 20, lambda b, x: b.op("Gelu", x)),
    "gelu_tanh": ("Gelu, approximated by tanh", 20, lambda b, x: b.op("Gelu", x, approximate="tanh")),
    "gelu_erf": ("Gelu written with Erf", 17, _gelu_by_erf),
    "mish": ("Mish", 20, lambda b, x: b.op("Mish", x)),
    "softmax_channels": ("Softmax over channels", 20, lambda b, x: b.op("Softmax", x, axis=1)),
    "channel_mul": ("Mul by a constant a channel", 20, lambda b, x: b.op("Mul", x, _channels(b, 1.0))),
    "channel_add": ("Add of a constant a channel", 20, lambda b, x: b.op("Add", _channels(b), x)),
    "channel_affine": (
        "Mul and Add of constants (1, C, 1, 1): BatchNormalization as other exporters write it",
        20,
        lambda b, x: b.op("Add", b.op("Mul", x, b.keep(b.normal(1, 4, 1, 1))), b.keep(b.normal(1, 4, 1, 1))),
    ),
    "channel_sub_div": (
        "Sub and Div of constants a channel",
        20,
        lambda b, x: b.op("Div", b.op("Sub", x, _channels(b)), b.keep(b.positive(4, 1, 1))),
    ),
    "pow_sqrt": ("Abs, Pow, Sqrt", 20, lambda b, x: b.op("Sqrt", b.op("Pow", b.op("Abs", x), _scalar(b, 1.5)))),
    "where": (
        "Greater and Where",
        20,
        lambda b, x: b.op("Where", b.op("Greater", x, _scalar(b, 0.1)), x, _scalar(b, -0.1)),
    ),
    "max_min": (
        "Max and Min with constants",
        20,
        lambda b, x: b.op("Min", b.op("Max", x, _channels(b)), _scalar(b, 2.0)),
    ),
    "batch_norm": (
        "BatchNormalization kept after the convolution",
        20,
        lambda b, x: b.op("Relu", b.norm(x, 4, "norm")),
    ),
    "instance_norm": (
        "InstanceNormalization",
        20,
        lambda b, x: b.op("Relu", b.op("InstanceNormalization", x, b.keep(b.positive(4)), b.keep(b.normal(4)))),
    ),
    "group_norm": (
        "GroupNormalization",
        21,
        lambda b, x: b.op(
            "Relu", b.op("GroupNormalization", x, b.keep(b.positive(4)), b.keep(b.normal(4)), num_groups=2)
        ),
    ),
    "local_response": ("LRN", 20, lambda b, x: b.op("LRN", x, size=3, alpha=0.1, beta=0.75, bias=1.0)),
    "dropout": ("Dropout, which inference passes through", 20, lambda b, x: b.op("Dropout", b.op("Relu", x))),
}

# name -> (about, opset, what is done to the 4 channels of 8 x 8)
POOLS: dict[str, tuple[str, int, Step]] = {
    "max_pool": ("MaxPool 2x2", 20, lambda b, x: b.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])),
    "max_pool_padded": (
        "MaxPool 3x3, stride 2, padded",
        20,
        lambda b, x: b.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    ),
    "max_pool_ceil": (
        "MaxPool 3x3, ceil_mode, auto_pad left out",
        20,
        lambda b, x: b.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    ),
    "max_pool_dilated": (
        "MaxPool, dilated, SAME_UPPER",
        20,
        lambda b, x: b.op("MaxPool", x, kernel_shape=[2, 2], dilations=[2, 2], auto_pad="SAME_UPPER"),
    ),
    "average_pool": ("AveragePool 2x2", 20, lambda b, x: b.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])),
    "average_pool_padded": (
        "AveragePool with padding counted",
        20,
        lambda b, x: b.op("AveragePool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    ),
    "global_max_pool": ("GlobalMaxPool, broadcast back", 20, lambda b, x: b.op("Sub", x, b.op("GlobalMaxPool", x))),
    "reduce_mean": ("ReduceMean, axes an input", 20, lambda b, x: b.op("Mul", x, b.op("ReduceMean", x, b.ints(2, 3)))),
    "reduce_mean_attribute": (
        "ReduceMean, axes an attribute",
        13,
        lambda b, x: b.op("ReduceMean", x, axes=[2], keepdims=1),
    ),
    "reduce_max": ("ReduceMax over rows of pixels", 20, lambda b, x: b.op("ReduceMax", x, b.ints(-1), keepdims=1)),
    "reduce_sum_l2": (
        "ReduceSum and ReduceL2",
        20,
        lambda b, x: b.op(
            "Div", b.op("ReduceSum", x, b.ints(2), keepdims=1), b.op("ReduceL2", x, b.ints(2), keepdims=1)
        ),
    ),
    "lp_pool": ("LpPool", 20, lambda b, x: b.op("LpPool", x, kernel_shape=[2, 2], p=2)),
    "resize": (
        "Resize to twice the size, nearest",
        20,
        lambda b, x: b.op("Resize", x, "", b.keep(np.array([1, 1, 2, 2], np.float32)), mode="nearest"),
    ),
    "depth_to_space": (
        "DepthToSpace and SpaceToDepth",
        20,
        lambda b, x: b.op("SpaceToDepth", b.op("DepthToSpace", x, blocksize=2), blocksize=2),
    ),
    "pad_reflect": (
        "Pad by reflection",
        20,
        lambda b, x: b.op("Pad", x, b.ints(0, 0, 1, 1, 0, 0, 1, 1), mode="reflect"),
    ),
}


# The same between 5 channels of 7 x 5: no row is a multiple of four numbers, which is what the runtime's vectors hold.
# name -> (about, what is done to them, whether its bits depend on the row's place modulo four)
UNEVEN: dict[str, tuple[str, Step, bool]] = {
    "uneven_elu": ("Elu", lambda b, x: b.op("Elu", x), False),
    "uneven_softplus": ("Softplus", lambda b, x: b.op("Softplus", x), False),
    "uneven_mish": ("Mish", lambda b, x: b.op("Mish", x), False),
    "uneven_sigmoid": ("Sigmoid", lambda b, x: b.op("Sigmoid", x), False),
    "uneven_softmax": ("Softmax", lambda b, x: b.op("Softmax", x, axis=-1), False),
    "uneven_lrn": ("LRN", lambda b, x: b.op("LRN", x, size=3, alpha=0.1), False),
    "uneven_pools": (
        "MaxPool and AveragePool",
        lambda b, x: b.op(
            "AveragePool", b.op("MaxPool", x, kernel_shape=[2, 2]), kernel_shape=[3, 2], pads=[1, 0, 0, 1]
        ),
        False,
    ),
    "uneven_reduce": ("ReduceMean over pixels", lambda b, x: b.op("Sub", x, b.op("ReduceMean", x, b.ints(2, 3))), True),
    "uneven_instance_norm": (
        "InstanceNormalization",
        lambda b, x: b.op("Relu", b.op("InstanceNormalization", x, b.keep(b.positive(5)), b.keep(b.normal(5)))),
        True,
    ),
    "uneven_batch_norm": ("BatchNormalization", lambda b, x: b.op("Relu", b.norm(x, 5, "norm")), False),
}


def _uneven(name: str, step: Step) -> onnx.ModelProto:
    b = Build(name, shape=(3, 7, 5), opset=20)
    return b.head(step(b, b.conv(b.image, 3, 5, name="conv", bias=True)), 5)


for _name, (_about, _odd_step, _placed) in UNEVEN.items():
    _tags = ["uneven", "four", *(["placed"] if _placed else [])]
    enter(_name, f"Odd sizes: {_about}", partial(_uneven, _name, _odd_step), 2, _tags)


def _between(name: str, opset: int, step: Step) -> onnx.ModelProto:
    b = Build(name, opset=opset)
    return b.head(step(b, b.conv(b.image, 3, 4, name="conv", bias=True)), 4)


for _name, (_about, _opset, _step) in (ACTIVATIONS | POOLS).items():
    _tags = ["pool" if _name in POOLS else "pointwise"]
    enter(_name, _about, partial(_between, _name, _opset, _step), 2, _tags)


@case(2, "pool")
def global_max_head() -> onnx.ModelProto:
    """GlobalMaxPool before the dense layer: no BatchNormalization, no average to soften a fault"""
    b = Build("global_max_head")
    pooled = b.op("GlobalMaxPool", b.conv(b.image, 3, 6, name="conv", bias=True))
    return b.model(b.dense(b.op("Flatten", pooled), 6))


@case(2, "uneven", "four", "placed")
def uneven_mean_head() -> onnx.ModelProto:
    """An all-convolutional network: 10 maps, ReduceMean over an odd number of pixels"""
    b = Build("uneven_mean_head", shape=(3, 7, 5))
    x = b.op("Relu", b.conv(b.image, 3, 6, name="conv1", bias=True))
    return b.model(b.op("ReduceMean", b.conv(x, 6, 5, (1, 1), name="conv2"), b.ints(2, 3), keepdims=0))


@case(2, "distribution")
def softmax_output() -> onnx.ModelProto:
    """The output is a distribution: Softmax at the end"""
    b = Build("softmax_output")
    pooled = b.op("GlobalAveragePool", b.op("Relu", b.conv(b.image, 3, 6, name="conv")))
    return b.model(b.op("Softmax", b.dense(b.op("Flatten", pooled), 6), axis=-1))


@case(2, "normalisation")
def norm_before_conv() -> onnx.ModelProto:
    """BatchNormalization and Relu before the convolution (pre-activation), the model's input normalised by constants"""
    b = Build("norm_before_conv")
    x = b.op("Div", b.op("Sub", b.image, b.keep(b.normal(1, 3, 1, 1))), b.keep(b.positive(1, 3, 1, 1)))
    return b.head(b.conv(b.op("Relu", b.norm(x, 3, "norm")), 3, 6, name="conv"), 6)
