"""Models that compute in other float dtypes."""

from __future__ import annotations

import numpy as np
import onnx

from .build import Build
from .case import CLASSES, case


@case(4, "float16", "residual")
def float16_residual() -> onnx.ModelProto:
    """All float16, input and logits too: convolutions, BatchNormalization, a residual"""
    b = Build("float16_residual", dtype="float16")
    x = b.unit(b.image, 3, 4, "stem")
    y = b.norm(b.conv(b.unit(x, 4, 4, "a"), 4, 4, name="b.conv", bias=True), 4, "b.norm")
    return b.head(b.op("Relu", b.op("Add", x, y)), 4)


@case(3, "float16", "attention", "four", "placed")
def float16_tokens() -> onnx.ModelProto:
    """float16 MatMul, LayerNormalization, Softmax"""
    b = Build("float16_tokens", dtype="float16", shape=(5, 6))
    x = b.op("LayerNormalization", b.image, b.keep(b.positive(6)), b.keep(b.normal(6)), axis=-1)
    q = b.op("MatMul", x, b.keep(b.normal(6, 6, scale=0.4), "q.weight"), name="/q/MatMul")
    v = b.op("MatMul", x, b.keep(b.normal(6, 6, scale=0.4), "v.weight"), name="/v/MatMul")
    scores = b.op("Softmax", b.op("MatMul", q, b.op("Transpose", x, perm=[0, 2, 1])), axis=-1)
    return b.model(b.dense(b.op("Flatten", b.op("MatMul", scores, v)), 30))


@case(3, "float16")
def float16_inside() -> onnx.ModelProto:
    """float32 outside, float16 inside, by Cast: what onnxconverter-common writes; a MaxPool inside"""
    b = Build("float16_inside", dtype="float16")
    b.input = onnx.helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["N", 3, 8, 8])
    x = b.op("Cast", b.image, to=onnx.TensorProto.FLOAT16)
    x = b.op("MaxPool", b.unit(x, 3, 4, "a"), kernel_shape=[2, 2], strides=[2, 2])
    x = b.op("Flatten", b.op("GlobalAveragePool", b.unit(x, 4, 6, "b")))
    return b.model(b.op("Cast", b.dense(x, 6), to=onnx.TensorProto.FLOAT), dtype="float32")


@case(2, "float64")
def float64_dense() -> onnx.ModelProto:
    """All float64 (ONNX Runtime's CPU has no float64 Conv): Gemm, Relu, MatMul, Add"""
    b = Build("float64_dense", dtype="float64", shape=(12,))
    x = b.op("Relu", b.dense(b.image, 12, 8, "hidden"))
    x = b.op("MatMul", x, b.keep(b.normal(8, CLASSES, scale=0.4), "fc.kernel"), name="/fc/MatMul")
    return b.model(b.op("Add", x, b.keep(b.normal(CLASSES), "fc.bias")))


@case(2, "float64", "mixed")
def float64_between() -> onnx.ModelProto:
    """float32 convolution, float64 dense layer, float32 logits"""
    b = Build("float64_between")
    x = b.op("Flatten", b.op("GlobalAveragePool", b.op("Relu", b.conv(b.image, 3, 6, name="conv"))))
    weight = b.keep(np.asarray(b.normal(6, CLASSES), np.float64), "fc.kernel")
    y = b.op("MatMul", b.op("Cast", x, to=onnx.TensorProto.DOUBLE), weight, name="/fc/MatMul")
    return b.model(b.op("Cast", y, to=onnx.TensorProto.FLOAT))


@case(2, "cast")
def uint8_image() -> onnx.ModelProto:
    """The input is uint8; Cast and Mul make it float"""
    b = Build("uint8_image", dtype="uint8")
    b.dtype = np.dtype("float32")
    x = b.op("Mul", b.op("Cast", b.image, to=onnx.TensorProto.FLOAT), b.keep(np.float32(1 / 255)))
    return b.head(b.op("Relu", b.conv(x, 3, 4, name="conv", bias=True)), 4)
