"""Integer models: QDQ, QLinear, and those that quantise at run time."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from .build import Array, Build
from .case import CLASSES, case


class _Quant(Build):
    """A builder that quantises: activations by fixed scales, weights by their largest value."""

    def __init__(self, name: str, act: str = "uint8", **options: Any) -> None:
        super().__init__(name, **options)
        self.act = np.dtype(act)

    def scale(self, value: float | Array) -> str:
        return self.keep(np.asarray(value, np.float32))

    def zero(self, value: int = 0, dtype: str | None = None) -> str:
        return self.keep(np.array(value, dtype or self.act))

    def steps(self, values: Array, axis: bool) -> Array:
        """The scale of an int8 weight: one, or one a filter."""
        top = np.abs(values).max(axis=tuple(range(1, values.ndim))) if axis else np.abs(values).max()
        return np.asarray(top / 127, np.float32)

    def rounded(self, values: Array, step: Array | float) -> Array:
        wide = np.reshape(step, (-1,) + (1,) * (values.ndim - 1))
        return np.asarray(np.clip(np.round(values / wide), -127, 127))

    def qdq(self, x: str, scale: float, zero: int = 0) -> str:
        s, z = self.scale(scale), self.zero(zero)
        return self.op("DequantizeLinear", self.op("QuantizeLinear", x, s, z), s, z)

    def weight(self, values: Array, into: float, name: str, per_filter: bool) -> tuple[str, str]:
        """The int8 weight and int32 bias of a layer behind DequantizeLinear."""
        step = self.steps(values, per_filter)
        stored = self.keep(self.rounded(values, step).reshape(values.shape), f"{name}.weight", "int8")
        zeros = self.keep(np.zeros(step.shape, np.int8))
        more: dict[str, Any] = {"axis": 0} if per_filter else {}
        weight = self.op("DequantizeLinear", stored, self.scale(step), zeros, **more)
        wide = np.broadcast_to(step * np.float32(into), (values.shape[0],)) if per_filter else step * np.float32(into)
        bias = self.keep(self.rng.integers(-300, 300, values.shape[0]), f"{name}.bias", "int32")
        return weight, self.op(
            "DequantizeLinear", bias, self.scale(wide), self.keep(np.zeros(wide.shape, np.int32)), **more
        )


def _qdq(b: _Quant, zero: int, per_filter: bool) -> onnx.ModelProto:
    x = b.qdq(b.image, 0.03, 128 if b.act == np.uint8 else 0)
    w, c = b.weight(b.filters(4, 3, 3, 3), 0.03, "conv1", per_filter)
    x = b.qdq(b.op("Relu", b.op("Conv", x, w, c, name="/conv1/Conv", pads=[1, 1, 1, 1])), 0.04, zero)
    w, c = b.weight(b.filters(4, 1, 3, 3), 0.04, "conv2", per_filter)
    y = b.op("Conv", x, w, c, name="/conv2/Conv", pads=[1, 1, 1, 1], group=4)
    x = b.qdq(b.op("Add", b.qdq(y, 0.05, zero), x), 0.06, zero)
    x = b.qdq(b.op("Flatten", b.op("GlobalAveragePool", x)), 0.02, zero)
    w, c = b.weight(b.normal(CLASSES, 4), 0.02, "fc", False)
    return b.model(b.qdq(b.op("Gemm", x, w, c, name="/fc/Gemm", transB=1), 0.03, 0 if b.act == np.int8 else 128))


@case(3, "qdq", "residual", "depthwise", "ties")
def qdq_int8() -> onnx.ModelProto:
    """QDQ, int8 activations and weights with a scale a filter, int32 bias, a residual Add"""
    return _qdq(_Quant("qdq_int8", "int8"), 0, per_filter=True)


@case(3, "qdq", "residual", "depthwise", "ties")
def qdq_uint8() -> onnx.ModelProto:
    """QDQ, uint8 activations with a zero point, weights with one scale"""
    return _qdq(_Quant("qdq_uint8"), 12, per_filter=False)


@case(2, "qdq", "ties")
def qdq_image_uint8() -> onnx.ModelProto:
    """The model's input is uint8 and is dequantised inside"""
    b = _Quant("qdq_image_uint8", dtype="uint8")
    b.dtype = np.dtype("float32")
    x = b.op("DequantizeLinear", b.image, b.scale(0.01), b.zero(128))
    w, c = b.weight(b.filters(4, 3, 3, 3), 0.01, "conv1", True)
    x = b.qdq(b.op("Relu", b.op("Conv", x, w, c, name="/conv1/Conv")), 0.01)
    w, c = b.weight(b.normal(CLASSES, 4), 0.01, "fc", False)
    return b.model(b.op("Gemm", b.op("Flatten", b.op("GlobalAveragePool", x)), w, c, name="/fc/Gemm", transB=1))


def _qlinear(b: _Quant, weights: str, integer_output: bool) -> onnx.ModelProto:
    low, high, middle = (-127, 127, 0) if weights == "int8" else (0, 255, 128)
    s0, z0, s1, z1, s2, z2 = b.scale(0.03), b.zero(128), b.scale(0.05), b.zero(3), b.scale(0.04), b.zero(120)
    x = b.op("QuantizeLinear", b.image, s0, z0)
    values = b.filters(4, 3, 3, 3)
    step = b.steps(values, True) if weights == "int8" else np.asarray(0.01, np.float32)
    stored = np.clip(np.round(values / np.reshape(step, (-1, 1, 1, 1))) + middle, low, high)
    w, ws = b.keep(stored, "conv1.weight", weights), b.scale(step)
    wz = b.keep(np.full(np.shape(step), middle, weights))
    c = b.keep(b.rng.integers(-300, 300, 4), "conv1.bias", "int32")
    x = b.op(
        "QLinearConv", x, s0, z0, w, ws, wz, s1, z1, c, name="/conv1/QLinearConv", pads=[1, 1, 1, 1], strides=[2, 2]
    )
    x = b.op("Reshape", x, b.ints(0, -1))
    stored = np.clip(np.round(b.normal(64, CLASSES, scale=0.3) / 0.01) + middle, low, high)
    w, ws, wz = b.keep(stored, "fc.weight", weights), b.scale(0.01), b.zero(middle, weights)
    x = b.op("QLinearMatMul", x, s1, z1, w, ws, wz, s2, z2, name="/fc/QLinearMatMul")
    return b.model(x, dtype="uint8") if integer_output else b.model(b.op("DequantizeLinear", x, s2, z2))


@case(2, "qlinear", "ties")
def qlinear_uint8() -> onnx.ModelProto:
    """QLinearConv and QLinearMatMul, everything uint8"""
    return _qlinear(_Quant("qlinear_uint8"), "uint8", integer_output=False)


@case(2, "qlinear", "ties", "integer-output")
def qlinear_int8() -> onnx.ModelProto:
    """QLinearConv with int8 weights and a scale a filter; the logits stay uint8"""
    return _qlinear(_Quant("qlinear_int8"), "int8", integer_output=True)


@case(3, "qlinear", "contrib", "residual", "depthwise", "ties")
def qlinear_contrib() -> onnx.ModelProto:
    """ONNX Runtime's own QOperator format: QLinearConv (depthwise too), QLinearAdd, QLinearGlobalAveragePool, QGemm"""
    b = _Quant("qlinear_contrib")
    b.domains["com.microsoft"] = 1
    ours: dict[str, Any] = {"domain": "com.microsoft"}
    s0, z0, s1, z1, s2, z2 = b.scale(0.03), b.zero(128), b.scale(0.05), b.zero(100), b.scale(0.04), b.zero(120)
    sw, zw, step = b.scale(0.01), b.zero(0, "int8"), 0.01
    x = b.op("QuantizeLinear", b.image, s0, z0)
    w = b.keep(b.rounded(b.filters(4, 3, 3, 3), step), "conv1.weight", "int8")
    x = b.op("QLinearConv", x, s0, z0, w, sw, zw, s1, z1, name="/conv1/QLinearConv", pads=[1, 1, 1, 1])
    w = b.keep(b.rounded(b.filters(4, 1, 3, 3), step), "conv2.weight", "int8")
    y = b.op("QLinearConv", x, s1, z1, w, sw, zw, s1, z1, name="/conv2/QLinearConv", pads=[1, 1, 1, 1], group=4)
    x = b.ops("QLinearAdd", x, s1, z1, y, s1, z1, s1, z1, **ours)[0]
    x = b.op("Flatten", b.ops("QLinearGlobalAveragePool", x, s1, z1, s2, z2, channels_last=0, **ours)[0])
    w = b.keep(b.rounded(b.normal(CLASSES, 4), step), "fc.weight", "int8")
    c = b.keep(b.rng.integers(-300, 300, CLASSES), "fc.bias", "int32")
    x = b.ops("QGemm", x, s2, z2, w, sw, zw, c, s2, z2, name="/fc/QGemm", transB=1, **ours)[0]
    return b.model(b.op("DequantizeLinear", x, s2, z2))


@case(2, "integer", "mixes-rows")
def integer_dynamic() -> onnx.ModelProto:
    """DynamicQuantizeLinear, ConvInteger, MatMulInteger: one scale for the whole batch, so rows disturb each other"""
    b = _Quant("integer_dynamic")

    def dequantised(product: str, step: str) -> str:
        return b.op("Mul", b.op("Cast", product, to=onnx.TensorProto.FLOAT), b.op("Mul", step, b.scale(0.01)))

    q, step, zero = b.ops("DynamicQuantizeLinear", b.image, outputs=3)
    w = b.keep(b.rng.integers(-60, 60, (4, 3, 3, 3)), "conv1.weight", "int8")
    x = b.op("ConvInteger", q, w, zero, name="/conv1/ConvInteger", pads=[1, 1, 1, 1])
    x = b.op("Flatten", b.op("GlobalAveragePool", b.op("Relu", dequantised(x, step))))
    q, step, zero = b.ops("DynamicQuantizeLinear", x, outputs=3)
    w = b.keep(b.rng.integers(-120, 120, (4, CLASSES)), "fc.weight", "int8")
    return b.model(dequantised(b.op("MatMulInteger", q, w, zero, name="/fc/MatMulInteger"), step))


@case(2, "integer", "ties")
def integer_fixed() -> onnx.ModelProto:
    """ConvInteger and MatMulInteger behind QuantizeLinear with fixed scales: rows keep to themselves"""
    b = _Quant("integer_fixed")
    zero = b.zero(128)
    q = b.op("QuantizeLinear", b.image, b.scale(0.03), zero)
    w = b.keep(b.rng.integers(0, 255, (4, 3, 3, 3)), "conv1.weight", "uint8")
    x = b.op("ConvInteger", q, w, zero, b.zero(127), name="/conv1/ConvInteger", pads=[1, 1, 1, 1])
    x = b.op("Mul", b.op("Cast", x, to=onnx.TensorProto.FLOAT), b.scale(0.03 * 0.01))
    x = b.op("Flatten", b.op("GlobalAveragePool", b.op("Relu", x)))
    zero = b.zero(0)
    q = b.op("QuantizeLinear", x, b.scale(0.02), zero)
    w = b.keep(b.rng.integers(0, 255, (4, CLASSES)), "fc.weight", "uint8")
    x = b.op("MatMulInteger", q, w, zero, b.zero(127), name="/fc/MatMulInteger")
    return b.model(b.op("Mul", b.op("Cast", x, to=onnx.TensorProto.FLOAT), b.scale(0.02 * 0.01)))
