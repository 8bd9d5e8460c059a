"""Where the stored word lies: weights behind other nodes, shared weights, layouts, old exporters' habits."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from .build import Build
from .case import CLASSES, case, enter

SHAPE = (4, 3, 3, 3)


def _int8(b: Build, axis: int | None) -> str:
    """An int8 weight behind DequantizeLinear, one scale for all or one a filter."""
    values = b.filters(*SHAPE)
    scale = np.abs(values).max() / 127 if axis is None else np.abs(values).max(axis=(1, 2, 3)) / 127
    step = scale if axis is None else scale.reshape(-1, 1, 1, 1)
    stored = b.keep(np.clip(np.round(values / step), -127, 127), "conv.weight_q", "int8")
    zero = np.zeros(np.shape(scale), np.int8)
    more: dict[str, Any] = {} if axis is None else {"axis": axis}
    return b.op("DequantizeLinear", stored, b.keep(np.asarray(scale, np.float32), "conv.scale"), b.keep(zero), **more)


def _uint8(b: Build) -> str:
    stored = b.keep(b.rng.integers(0, 256, SHAPE), "conv.weight_q", "uint8")
    return b.op("DequantizeLinear", stored, b.keep(np.float32(0.01), "conv.scale"), b.keep(np.array(131, np.uint8)))


def _constant(b: Build, **attributes: object) -> str:
    return b.op("Constant", name="/Constant_weight", output="conv.weight", **attributes)


# name -> (about, what gives the weight (4, 3, 3, 3) of the convolution)
PATHS: dict[str, tuple[str, Callable[[Build], str]]] = {
    "weight_identity": ("Identity", lambda b: b.op("Identity", b.keep(b.filters(*SHAPE), "conv.weight"))),
    "weight_transpose": (
        "Transpose: stored as Keras stores it, height, width, in, out",
        lambda b: b.op(
            "Transpose", b.keep(b.filters(*SHAPE).transpose(2, 3, 1, 0).copy(), "conv.kernel"), perm=[3, 2, 0, 1]
        ),
    ),
    "weight_reshape": (
        "Reshape: stored as a matrix",
        lambda b: b.op("Reshape", b.keep(b.filters(*SHAPE).reshape(4, 27), "conv.weight"), b.ints(*SHAPE)),
    ),
    "weight_constant": (
        "a Constant node that holds a tensor",
        lambda b: _constant(b, value=numpy_helper.from_array(b.filters(*SHAPE), "")),
    ),
    "weight_constant_floats": (
        "a Constant node that holds value_floats, then Reshape",
        lambda b: b.op("Reshape", _constant(b, value_floats=b.filters(*SHAPE).ravel().tolist()), b.ints(*SHAPE)),
    ),
    "weight_int8_tensor": ("DequantizeLinear, int8, one scale", lambda b: _int8(b, None)),
    "weight_int8_axis": ("DequantizeLinear, int8, one scale a filter", lambda b: _int8(b, 0)),
    "weight_uint8": ("DequantizeLinear, uint8 with a zero point", _uint8),
    "weight_float16": (
        "Cast: stored as float16",
        lambda b: b.op("Cast", b.keep(b.filters(*SHAPE), "conv.weight", "float16"), to=onnx.TensorProto.FLOAT),
    ),
    "weight_bfloat16": (
        "Cast: stored as bfloat16",
        lambda b: b.op("Cast", b.keep(b.filters(*SHAPE), "conv.weight", "bfloat16"), to=onnx.TensorProto.FLOAT),
    ),
    "weight_float64": (
        "Cast: stored as float64",
        lambda b: b.op("Cast", b.keep(b.filters(*SHAPE), "conv.weight", "float64"), to=onnx.TensorProto.FLOAT),
    ),
    "weight_long_path": (
        "Cast, Transpose, Identity, one after the other",
        lambda b: b.op(
            "Identity",
            b.op(
                "Transpose",
                b.op("Cast", b.keep(b.filters(3, 4, 3, 3), "conv.weight", "float16"), to=onnx.TensorProto.FLOAT),
                perm=[1, 0, 2, 3],
            ),
        ),
    ),
    "weight_unsqueeze": (
        "Unsqueeze: a 1x1 convolution stored as a matrix",
        lambda b: b.op("Unsqueeze", b.keep(b.filters(4, 3), "conv.weight"), b.ints(2, 3)),
    ),
}


def _behind(name: str, path: Callable[[Build], str]) -> onnx.ModelProto:
    b = Build(name)
    bias = b.keep(b.normal(4, scale=0.1), "conv.bias")
    return b.head(b.op("Relu", b.op("Conv", b.image, path(b), bias, name="/conv/Conv")), 4)


for _name, (_about, _path) in PATHS.items():
    enter(_name, f"The weight lies behind {_about}", partial(_behind, _name, _path), 2, ["path", _name.split("_")[1]])


@case(2, "path", "bfloat16")
def dense_bfloat16() -> onnx.ModelProto:
    """Dense weights stored as bfloat16, turned and cast before use"""
    b = Build("dense_bfloat16", shape=(12,))

    def linear(x: str, into: int, out: int, name: str) -> str:
        stored = b.keep(b.normal(out, into, scale=0.4), f"{name}.weight", "bfloat16")
        turned = b.op("Transpose", b.op("Cast", stored, to=onnx.TensorProto.FLOAT), perm=[1, 0])
        return b.op("MatMul", x, turned, name=f"/{name}/MatMul")

    return b.model(linear(b.op("Relu", linear(b.image, 12, 8, "hidden")), 8, CLASSES, "fc"))


@case(3, "nhwc")
def nhwc_input() -> onnx.ModelProto:
    """tf2onnx: images come height, width, channel and are transposed; MatMul kernels are stored in, out"""
    b = Build("nhwc_input", shape=(8, 8, 3))
    x = b.op("Transpose", b.image, perm=[0, 3, 1, 2])
    x = b.op("Relu", b.conv(x, 3, 4, name="conv2d", bias=True, auto_pad="SAME_UPPER", strides=[2, 2]))
    x = b.op("Relu", b.conv(x, 4, 4, name="conv2d_1", bias=True))
    x = b.op("Reshape", b.op("Transpose", x, perm=[0, 2, 3, 1]), b.ints(-1, 64))
    x = b.op("MatMul", x, b.keep(b.normal(64, CLASSES, scale=0.3), "dense/MatMul/ReadVariableOp:0"))
    return b.model(b.op("Add", x, b.keep(b.normal(CLASSES), "dense/BiasAdd/ReadVariableOp:0")))


@case(3, "shared")
def shared_weight() -> onnx.ModelProto:
    """One initializer read by two convolutions"""
    b = Build("shared_weight")
    weight = b.keep(b.filters(3, 3, 3, 3), "conv.weight")
    x = b.op("Relu", b.op("Conv", b.image, weight, name="/first/Conv", pads=[1, 1, 1, 1]))
    x = b.op("Relu", b.op("Conv", x, weight, name="/second/Conv", pads=[1, 1, 1, 1]))
    return b.head(x, 3)


@case(3, "shared")
def shared_turned() -> onnx.ModelProto:
    """One initializer read by two dense layers, by one of them through a Transpose (tied weights)"""
    b = Build("shared_turned", shape=(8,))
    weight = b.keep(b.normal(8, 6, scale=0.4), "tied.weight")
    x = b.op("Relu", b.op("MatMul", b.image, weight, name="/down/MatMul"))
    x = b.op("Relu", b.op("MatMul", x, b.op("Transpose", weight, perm=[1, 0]), name="/up/MatMul"))
    return b.model(b.dense(x, 8))


@case(3, "shared")
def shared_norm() -> onnx.ModelProto:
    """Two BatchNormalizations read the same four initializers (an exporter merged equal ones)"""
    b = Build("shared_norm")
    names = [b.keep(v, f"norm.{i}") for i, v in enumerate((b.positive(4), b.normal(4), b.normal(4), b.positive(4)))]
    x = b.op("Relu", b.op("BatchNormalization", b.conv(b.image, 3, 4, name="conv1"), *names))
    x = b.op("Relu", b.op("BatchNormalization", b.conv(x, 4, 4, name="conv2"), *names))
    return b.head(x, 4)


@case(3, "legacy")
def legacy_inputs() -> onnx.ModelProto:
    """IR 3, opset 8: initializers are graph inputs as well, Reshape flattens"""
    b = Build("legacy_inputs", opset=8, ir=3, legacy=True)
    x = b.unit(b.image, 3, 4, "a")
    x = b.op("Dropout", b.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), ratio=0.5)
    x = b.unit(x, 4, 4, "b")
    return b.model(b.dense(b.op("Reshape", x, b.ints(-1, 64)), 64))


@case(2, "external")
def weight_read_elsewhere() -> onnx.ModelProto:
    """A convolution's weight that an Add reads too: one word, a layer and an op that is none"""
    b = Build("weight_read_elsewhere", shape=(1, 5, 5))
    weight = b.keep(b.filters(3, 1, 3, 3), "conv.weight")
    x = b.op("Relu", b.op("Conv", b.image, weight, name="/conv/Conv", pads=[1, 1, 1, 1]))
    energy = b.op("ReduceMean", b.op("Mul", weight, weight))
    return b.head(b.op("Add", x, energy), 3)


@case(2, "path", "computed")
def weight_norm() -> onnx.ModelProto:
    """PyTorch's weight_norm, computed at run time: weight = g * v / |v|"""
    b = Build("weight_norm")
    v, g = b.keep(b.filters(*SHAPE), "conv.weight_v"), b.keep(b.positive(4, 1, 1, 1), "conv.weight_g")
    weight = b.op("Mul", b.op("Div", v, b.op("ReduceL2", v, b.ints(1, 2, 3), keepdims=1)), g)
    return b.head(b.op("Relu", b.op("Conv", b.image, weight, name="/conv/Conv", pads=[1, 1, 1, 1])), 4)


@case(3, "function")
def local_function() -> onnx.ModelProto:
    """A block kept as a function of the model, called twice (PyTorch's nn.Module functions)"""
    b = Build("local_function")
    b.domains["local"] = 1
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["y"], ["z"], name="relu"),
    ]
    b.functions.append(helper.make_function("local", "Block", ["x", "w"], ["z"], nodes, [helper.make_opsetid("", 20)]))
    x = b.image
    for name in ("first", "second"):
        x = b.ops(
            "Block", x, b.keep(b.filters(3, 3, 3, 3), f"{name}.weight"), outputs=1, name=f"/{name}", domain="local"
        )[0]
    return b.head(x, 3)
