"""Three small networks, deeper than the other cases: residual, concatenating, depthwise."""

from __future__ import annotations

import numpy as np
import onnx

from .build import Build
from .case import case


@case(10, "architecture", "residual")
def arch_residual() -> onnx.ModelProto:
    """ResNet: a stem, three blocks (one identity, two with 1x1 shortcuts), 10 layers"""
    b = Build("arch_residual")
    x, width = b.unit(b.image, 3, 6, "stem"), 6
    for i, out in enumerate((6, 8, 10)):
        stride = [1, 1] if out == width else [2, 2]
        y = b.unit(x, width, out, f"layer{i}.0", strides=stride)
        y = b.norm(b.conv(y, out, out, name=f"layer{i}.1.conv"), out, f"layer{i}.1.norm")
        if out != width:
            x = b.norm(
                b.conv(x, width, out, (1, 1), name=f"layer{i}.short.conv", strides=stride), out, f"layer{i}.short.norm"
            )
        x, width = b.op("Relu", b.op("Add", y, x)), out
    return b.head(x, width)


@case(9, "architecture", "concat")
def arch_dense() -> onnx.ModelProto:
    """DenseNet: two blocks of three layers, a transition with AveragePool between them, 9 layers"""
    b = Build("arch_dense")
    seen, width = b.conv(b.image, 3, 6, name="stem"), 6
    for block in range(2):
        for i in range(3):
            y = b.op("Relu", b.norm(seen, width, f"block{block}.{i}.norm"))
            y = b.conv(y, width, 3, name=f"block{block}.{i}.conv")
            seen, width = b.op("Concat", seen, y, axis=1), width + 3
        if block == 0:
            y = b.op("Relu", b.norm(seen, width, "transition.norm"))
            y = b.conv(y, width, 6, (1, 1), name="transition.conv")
            seen, width = b.op("AveragePool", y, kernel_shape=[2, 2], strides=[2, 2]), 6
    return b.head(b.op("Relu", b.norm(seen, width, "norm")), width)


@case(11, "architecture", "depthwise", "residual", "gate")
def arch_depthwise() -> onnx.ModelProto:
    """MobileNet: a stem, three inverted blocks (expand, depthwise, project), one of them residual, a dense layer"""
    b = Build("arch_depthwise")
    low, high = b.keep(np.float32(0)), b.keep(np.float32(6))

    def step(x: str, into: int, out: int, name: str, clip: bool = True, **options: object) -> str:
        y = b.norm(b.conv(x, into, out, name=f"{name}.conv", **options), out, f"{name}.norm")  # type: ignore[arg-type]
        return b.op("Clip", y, low, high) if clip else y

    x, width = step(b.image, 3, 4, "stem"), 4
    for i, (out, stride) in enumerate(((4, 1), (6, 2), (6, 1))):
        wide = 2 * width
        y = step(x, width, wide, f"block{i}.expand", kernel=(1, 1))
        y = step(y, wide, wide, f"block{i}.depthwise", group=wide, strides=[stride, stride])
        y = step(y, wide, out, f"block{i}.project", clip=False, kernel=(1, 1))
        x, width = (b.op("Add", x, y) if out == width else y), out
    return b.head(x, width)
