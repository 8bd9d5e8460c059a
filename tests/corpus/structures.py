"""How layers are joined: residuals, concatenations, gates, splits, recurrences."""

from __future__ import annotations

import numpy as np
import onnx

from .build import Build
from .case import case


@case(4, "residual")
def residual_identity() -> onnx.ModelProto:
    """A residual block whose shortcut is the block's input"""
    b = Build("residual_identity")
    x = b.unit(b.image, 3, 6, "stem")
    y = b.unit(x, 6, 6, "block.0")
    y = b.norm(b.conv(y, 6, 6, name="block.1.conv"), 6, "block.1.norm")
    return b.head(b.op("Relu", b.op("Add", y, x)), 6)


@case(5, "residual")
def residual_projection() -> onnx.ModelProto:
    """A residual block whose shortcut is a 1x1 convolution with stride"""
    b = Build("residual_projection")
    x = b.unit(b.image, 3, 4, "stem")
    y = b.unit(x, 4, 6, "block.0", strides=[2, 2])
    y = b.norm(b.conv(y, 6, 6, name="block.1.conv"), 6, "block.1.norm")
    short = b.norm(b.conv(x, 4, 6, (1, 1), name="short.conv", strides=[2, 2]), 6, "short.norm")
    return b.head(b.op("Relu", b.op("Add", y, short)), 6)


@case(4, "residual")
def residual_padded() -> onnx.ModelProto:
    """A residual block with the parameter-free shortcut: Slice every other pixel, Pad the channels"""
    b = Build("residual_padded")
    x = b.unit(b.image, 3, 4, "stem")
    y = b.unit(x, 4, 8, "block.0", strides=[2, 2])
    y = b.norm(b.conv(y, 8, 8, name="block.1.conv"), 8, "block.1.norm")
    short = b.op("Slice", x, b.ints(0, 0), b.ints(2**31 - 1, 2**31 - 1), b.ints(2, 3), b.ints(2, 2))
    short = b.op("Pad", short, b.ints(0, 2, 0, 0, 0, 2, 0, 0))
    return b.head(b.op("Relu", b.op("Add", y, short)), 8)


@case(3, "residual")
def residual_of_input() -> onnx.ModelProto:
    """The shortcut starts at the model's own input: a fault there goes both ways"""
    b = Build("residual_of_input")
    y = b.conv(b.op("Relu", b.conv(b.image, 3, 3, name="conv1", bias=True)), 3, 3, name="conv2")
    return b.head(b.op("Add", b.image, y), 3)


@case(4, "concat")
def concat_dense_block() -> onnx.ModelProto:
    """A DenseNet block: each layer reads all that was before"""
    b = Build("concat_dense_block")
    seen, width = b.conv(b.image, 3, 4, name="stem"), 4
    for i in range(2):
        y = b.op("Relu", b.norm(seen, width, f"dense.{i}.norm"))
        seen, width = b.op("Concat", seen, b.conv(y, width, 3, name=f"dense.{i}.conv"), axis=1), width + 3
    return b.head(b.op("Relu", seen), width)


@case(8, "concat")
def concat_inception() -> onnx.ModelProto:
    """A GoogLeNet inception: four branches, concatenated"""
    b = Build("concat_inception")
    x = b.unit(b.image, 3, 4, "stem")
    one = b.unit(x, 4, 2, "one", kernel=(1, 1))
    three = b.unit(b.unit(x, 4, 2, "three.0", kernel=(1, 1)), 2, 3, "three.1")
    five = b.unit(b.unit(x, 4, 2, "five.0", kernel=(1, 1)), 2, 2, "five.1", kernel=(5, 5))
    pool = b.op("MaxPool", x, kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
    pool = b.unit(pool, 4, 2, "pool", kernel=(1, 1))
    return b.head(b.op("Concat", one, three, five, pool, axis=1), 9)


@case(3, "concat")
def concat_skip_up() -> onnx.ModelProto:
    """A step of U-Net: down, up by Resize, concatenated with what was there before"""
    b = Build("concat_skip_up")
    x = b.op("Relu", b.conv(b.image, 3, 4, name="down1"))
    y = b.op("Relu", b.conv(b.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), 4, 4, name="down2"))
    y = b.op("Resize", y, "", b.keep(np.array([1, 1, 2, 2], np.float32)), mode="nearest")
    return b.head(b.op("Concat", y, x, axis=1), 8)


@case(5, "depthwise", "residual")
def depthwise_inverted() -> onnx.ModelProto:
    """MobileNetV2's block: expand, depthwise, project, add; Clip as Relu6"""
    b = Build("depthwise_inverted")
    low, high = b.keep(np.float32(0)), b.keep(np.float32(6))
    x = b.op("Clip", b.norm(b.conv(b.image, 3, 4, name="stem", strides=[2, 2]), 4, "stem.norm"), low, high)
    y = b.op("Clip", b.norm(b.conv(x, 4, 8, (1, 1), name="expand"), 8, "expand.norm"), low, high)
    y = b.op("Clip", b.norm(b.conv(y, 8, 8, name="depthwise", group=8), 8, "depthwise.norm"), low, high)
    y = b.norm(b.conv(y, 8, 4, (1, 1), name="project"), 4, "project.norm")
    return b.head(b.op("Add", x, y), 4)


@case(3, "depthwise")
def depthwise_separable() -> onnx.ModelProto:
    """MobileNetV1's block: depthwise, then 1x1"""
    b = Build("depthwise_separable", shape=(4, 8, 8))
    y = b.unit(b.image, 4, 4, "depthwise", group=4)
    return b.head(b.unit(y, 4, 6, "pointwise", kernel=(1, 1)), 6)


@case(4, "gate")
def squeeze_excite() -> onnx.ModelProto:
    """A squeeze-and-excite gate: pooled, two 1x1 convolutions, Sigmoid, Mul a channel"""
    b = Build("squeeze_excite")
    x = b.op("Relu", b.conv(b.image, 3, 6, name="conv"))
    gate = b.op("GlobalAveragePool", x)
    gate = b.op("Relu", b.conv(gate, 6, 3, (1, 1), name="squeeze", bias=True))
    gate = b.op("Sigmoid", b.conv(gate, 3, 6, (1, 1), name="excite", bias=True))
    return b.head(b.op("Mul", x, gate), 6)


@case(3, "grouped", "shuffle")
def channel_shuffle() -> onnx.ModelProto:
    """ShuffleNet: grouped convolutions with channels shuffled between by Reshape, Transpose, Reshape"""
    b = Build("channel_shuffle", shape=(4, 8, 8))
    y = b.op("Relu", b.conv(b.image, 4, 8, (1, 1), name="group1", group=2))
    y = b.op("Transpose", b.op("Reshape", y, b.ints(0, 2, 4, 8, 8)), perm=[0, 2, 1, 3, 4])
    y = b.op("Reshape", y, b.ints(0, -1, 8, 8))
    return b.head(b.op("Relu", b.conv(y, 8, 8, name="group2", group=4)), 8)


@case(3, "split")
def split_branches() -> onnx.ModelProto:
    """Split along channels, one half convolved, the halves joined"""
    b = Build("split_branches")
    x = b.op("Relu", b.conv(b.image, 3, 6, name="stem"))
    left, right = b.ops("Split", x, b.ints(2, 4), outputs=2, axis=1)
    return b.head(b.op("Concat", b.op("Relu", b.conv(right, 4, 4, name="half")), left, axis=1), 6)


@case(4, "two-readers")
def input_read_twice() -> onnx.ModelProto:
    """One activation, and the model's input too, read by two layers each"""
    b = Build("input_read_twice")
    x = b.op("Relu", b.op("Add", b.conv(b.image, 3, 4, name="a"), b.conv(b.image, 3, 4, (1, 1), name="b")))
    x = b.op("GlobalAveragePool", b.op("Mul", b.conv(x, 4, 5, name="c"), b.conv(x, 4, 5, (5, 5), name="d")))
    return b.model(b.op("Flatten", x))


@case(2, "flatten")
def flatten_by_shape() -> onnx.ModelProto:
    """x.view(x.size(0), -1): Shape, Gather, Unsqueeze, Concat, Reshape"""
    b = Build("flatten_by_shape", shape=(3, 4, 4))
    x = b.op("Relu", b.conv(b.image, 3, 4, name="conv"))
    rows = b.op("Gather", b.op("Shape", x), b.keep(np.array(0, np.int64)), axis=0)
    shape = b.op("Concat", b.op("Unsqueeze", rows, b.ints(0)), b.ints(-1), axis=0)
    return b.model(b.dense(b.op("Reshape", x, shape), 64))


@case(2, "several-outputs", output="logits")
def several_outputs() -> onnx.ModelProto:
    """Two outputs: the logits and the features before them"""
    b = Build("several_outputs")
    x = b.op("Relu", b.conv(b.image, 3, 6, name="conv"), output="maps")
    features = b.op("Flatten", b.op("GlobalAveragePool", x), output="features")
    return b.model(b.dense(features, 6), "features", "maps", features=["N", 6], maps=["N", 6, 8, 8])


@case(2, "several-outputs", output="logits")
def several_heads() -> onnx.ModelProto:
    """Two heads; the second one's layer is none of ours: it does not lead to the chosen output"""
    b = Build("several_heads")
    x = b.op("Flatten", b.op("GlobalAveragePool", b.op("Relu", b.conv(b.image, 3, 6, name="conv"))))
    aside = b.op("Gemm", x, b.keep(b.normal(3, 6), "aside.weight"), name="/aside/Gemm", output="aside", transB=1)
    return b.model(b.dense(x, 6), aside, aside=["N", 3])


@case(1, "recurrent", "batch-not-first")
def lstm() -> onnx.ModelProto:
    """An LSTM over rows of pixels (its own weights are no layer of ours), then a dense layer; the batch is axis 1"""
    b = Build("lstm", shape=(5, 4))
    x = b.op("Transpose", b.image, perm=[1, 0, 2])
    w, r = b.keep(b.normal(1, 24, 4, scale=0.5), "lstm.W"), b.keep(b.normal(1, 24, 6, scale=0.5), "lstm.R")
    last = b.ops("LSTM", x, w, r, outputs=["", "last"], name="/lstm/LSTM", hidden_size=6)[1]
    return b.model(b.dense(b.op("Squeeze", last, b.ints(0)), 6))
