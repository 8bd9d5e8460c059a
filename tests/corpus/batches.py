"""Models whose file names a batch size, and models whose rows disturb each other."""

from __future__ import annotations

import numpy as np
import onnx

from .build import Build
from .case import case


@case(2, "fixed-batch")
def fixed_one() -> onnx.ModelProto:
    """Batch 1, named in input and output only"""
    b = Build("fixed_one", batch=1)
    return b.head(b.op("Relu", b.conv(b.image, 3, 4, name="conv", bias=True)), 4)


@case(2, "fixed-batch")
def fixed_one_reshape() -> onnx.ModelProto:
    """Batch 1, and a constant Reshape [1, -1] flattens"""
    b = Build("fixed_one_reshape", batch=1, shape=(3, 4, 4))
    x = b.op("Relu", b.conv(b.image, 3, 4, name="conv", bias=True))
    return b.model(b.dense(b.op("Reshape", x, b.ints(1, -1)), 64))


@case(2, "fixed-batch")
def fixed_one_reshape_full() -> onnx.ModelProto:
    """Batch 1, and the constant Reshape [1, 64] names every dimension"""
    b = Build("fixed_one_reshape_full", batch=1, shape=(3, 4, 4))
    x = b.op("Relu", b.conv(b.image, 3, 4, name="conv", bias=True))
    return b.model(b.dense(b.op("Reshape", x, b.ints(1, 64)), 64))


@case(3, "fixed-batch", "attention")
def fixed_one_tokens() -> onnx.ModelProto:
    """Batch 1, tokens made by Reshape [1, 4, 16], a class token concatenated as it is"""
    b = Build("fixed_one_tokens", batch=1, shape=(3, 4, 4))
    x = b.op("Reshape", b.conv(b.image, 3, 4, name="conv"), b.ints(1, 4, 16))
    x = b.op("Concat", b.keep(b.normal(1, 1, 16), "token"), x, axis=1)
    x = b.op("Relu", b.op("MatMul", x, b.keep(b.normal(16, 6, scale=0.4), "mix.weight"), name="/mix/MatMul"))
    return b.model(b.dense(b.op("ReduceMean", x, b.ints(1), keepdims=0), 6))


@case(2, "fixed-batch")
def fixed_four() -> onnx.ModelProto:
    """Batch 4, a constant Reshape [4, -1]: free as well as any"""
    b = Build("fixed_four", batch=4, shape=(3, 4, 4))
    x = b.op("Relu", b.conv(b.image, 3, 4, name="conv", bias=True))
    return b.model(b.dense(b.op("Reshape", x, b.ints(4, -1)), 64))


@case(2, "fixed-batch", "stuck-batch")
def fixed_four_unrolled() -> onnx.ModelProto:
    """Batch 4 that cannot be freed: split into four images, each on its own, then joined"""
    b = Build("fixed_four_unrolled", batch=4)
    x = b.op("Relu", b.conv(b.image, 3, 4, name="conv", bias=True))
    parts = b.ops("Split", x, b.ints(1, 1, 1, 1), outputs=4, axis=0)
    x = b.op("Concat", *(b.op("GlobalMaxPool", part) for part in parts), axis=0)
    return b.model(b.dense(b.op("Flatten", x), 4))


@case(2, "fixed-batch", "stuck-batch", "uncuttable")
def fixed_two_pairs() -> onnx.ModelProto:
    """Batch 2 that cannot be freed: one Concat along the batch with a stored image, cut off again by Slice"""
    b = Build("fixed_two_pairs", batch=2)
    x = b.op("Concat", b.image, b.keep(b.normal(1, 3, 8, 8), "extra"), axis=0)
    x = b.op("Relu", b.conv(x, 3, 4, name="conv", bias=True))
    return b.head(b.op("Slice", x, b.ints(0), b.ints(2), b.ints(0)), 4)


@case(2, "mixes-rows")
def rows_centred() -> onnx.ModelProto:
    """The mean over the batch is taken off: rows disturb each other"""
    b = Build("rows_centred")
    x = b.op("Relu", b.conv(b.image, 3, 4, name="conv"))
    return b.head(b.op("Sub", x, b.op("ReduceMean", x, b.ints(0), keepdims=1)), 4)


@case(2, "mixes-rows")
def rows_by_position() -> onnx.ModelProto:
    """Each row is scaled by its place in the batch: the same image gives another answer elsewhere"""
    b = Build("rows_by_position")
    x = b.op("Relu", b.conv(b.image, 3, 4, name="conv"))
    n = b.op("Gather", b.op("Shape", x), b.keep(np.array(0, np.int64)), axis=0)
    places = b.op("Range", b.keep(np.array(0, np.int64)), n, b.keep(np.array(1, np.int64)))
    places = b.op("Reshape", b.op("Cast", places, to=onnx.TensorProto.FLOAT), b.ints(-1, 1, 1, 1))
    return b.head(b.op("Sub", x, places), 4)


@case(2, "fixed-batch", "stuck-batch", "mixes-rows")
def fixed_four_biased() -> onnx.ModelProto:
    """Batch 4 with a stored constant for each row: freed or not, a row's answer depends on its place"""
    b = Build("fixed_four_biased", batch=4)
    x = b.op("Relu", b.conv(b.image, 3, 4, name="conv", bias=True))
    return b.head(b.op("Add", x, b.keep(b.normal(4, 4, 1, 1), "each")), 4)
