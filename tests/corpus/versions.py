"""One small network in every opset, written as that opset wants it."""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx

from .build import Build
from .case import enter

# opset -> the IR version that its time wrote; 26 is the newest opset that ONNX Runtime 1.31 loads
IR = dict(enumerate((3, 3, 4, 5, 6, 7, 7, 7, 8, 8, 8, 8, 9, 9, 10, 10, 11, 12, 12, 13), start=7))


def network(opset: int) -> onnx.ModelProto:
    """Conv, BatchNormalization, Clip, Dropout, Pad, MaxPool, Softmax over channels, ReduceMean, Squeeze, Gemm."""
    b = Build(f"opset_{opset}", opset=opset, ir=IR[opset], legacy=IR[opset] < 4)
    x = b.norm(b.conv(b.image, 3, 4, name="conv1", bias=True), 4, "norm1")
    if opset < 11:
        x = b.op("Clip", x, min=0.0, max=6.0)
        x = b.op("Pad", x, pads=[0, 0, 0, 0, 0, 0, 1, 1])
    else:
        x = b.op("Clip", x, b.keep(np.float32(0)), b.keep(np.float32(6)))
        x = b.op("Pad", x, b.ints(0, 0, 0, 0, 0, 0, 1, 1))
    x = b.op("Dropout", x, ratio=0.5) if opset < 12 else b.op("Dropout", x)
    x = b.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2])
    x = b.conv(x, 4, 6, name="conv2", auto_pad="SAME_UPPER")
    if opset >= 20:
        x = b.op("Gelu", x)
    elif opset >= 14:
        x = b.op("HardSwish", x)
    if opset >= 17:
        x = b.op("LayerNormalization", x, b.keep(b.positive(4)), b.keep(b.normal(4)), axis=-1)
    x = b.op("Add", x, b.op("Softmax", x, axis=1))
    x = b.op("ReduceMean", x, axes=[2, 3], keepdims=1) if opset < 18 else b.op("ReduceMean", x, b.ints(2, 3))
    x = b.op("Squeeze", x, axes=[2, 3]) if opset < 13 else b.op("Squeeze", x, b.ints(2, 3))
    return b.model(b.dense(x, 6))


for _opset in IR:
    enter(f"opset_{_opset}", f"A network in opset {_opset}, IR {IR[_opset]}", partial(network, _opset), 3, ["opset"])
