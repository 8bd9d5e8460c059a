"""Attention blocks, as the exporters write them."""

from __future__ import annotations

import numpy as np
import onnx

from .build import Build
from .case import case

TOKENS, WIDTH, HEADS = 6, 8, 2


def _linear(b: Build, x: str, name: str, out: int = WIDTH, into: int = WIDTH) -> str:
    y = b.op(
        "MatMul", x, b.keep(b.normal(into, out, scale=1 / np.sqrt(into)), f"{name}.weight"), name=f"/{name}/MatMul"
    )
    return b.op("Add", b.keep(b.normal(out, scale=0.1), f"{name}.bias"), y)


def _layer_norm(b: Build, x: str, name: str) -> str:
    scale, shift = b.keep(b.positive(WIDTH), f"{name}.weight"), b.keep(b.normal(WIDTH, scale=0.1), f"{name}.bias")
    return b.op("LayerNormalization", x, scale, shift, name=f"/{name}/LayerNormalization", axis=-1)


def _batch(b: Build, x: str, axis: int = 0) -> str:
    size = b.op("Gather", b.op("Shape", x), b.keep(np.array(axis, np.int64)), axis=0)
    return b.op("Unsqueeze", size, b.ints(0))


def _attend(b: Build, q: str, k: str, v: str) -> str:
    """(N, heads, tokens, width a head), k already turned."""
    scores = b.op("Mul", b.op("MatMul", q, k), b.keep(np.float32(1 / np.sqrt(WIDTH / HEADS))))
    return b.op("MatMul", b.op("Softmax", scores, axis=-1), v)


def _block(b: Build, dynamic: bool) -> onnx.ModelProto:
    x = b.op("Add", b.image, b.keep(b.normal(1, TOKENS, WIDTH, scale=0.2), "position"))
    y = _layer_norm(b, x, "norm1")
    q, k, v = (_linear(b, y, f"attn.{part}") for part in "qkv")

    def shape(*rest: int) -> str:
        return b.op("Concat", _batch(b, y), b.ints(*rest), axis=0) if dynamic else b.ints(-1, *rest)

    heads = [b.op("Reshape", part, shape(TOKENS, HEADS, WIDTH // HEADS)) for part in (q, k, v)]
    perms = ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])
    turned = [b.op("Transpose", part, perm=perm) for part, perm in zip(heads, perms, strict=True)]
    y = b.op("Transpose", _attend(b, *turned), perm=[0, 2, 1, 3])
    y = _linear(b, b.op("Reshape", y, shape(TOKENS, WIDTH)), "attn.out")
    x = b.op("Add", x, y)
    y = _linear(b, b.op("Gelu", _linear(b, _layer_norm(b, x, "norm2"), "mlp.up", out=12)), "mlp.down", into=12)
    x = b.op("Add", x, y)
    return b.model(b.dense(b.op("ReduceMean", x, b.ints(1), keepdims=0), WIDTH))


@case(7, "attention", "residual")
def attention_dynamic() -> onnx.ModelProto:
    """A transformer block whose Reshapes compute their shape: Shape, Gather, Concat"""
    return _block(Build("attention_dynamic", shape=(TOKENS, WIDTH)), dynamic=True)


@case(7, "attention", "residual")
def attention_constant() -> onnx.ModelProto:
    """The same block with constant Reshapes"""
    return _block(Build("attention_constant", shape=(TOKENS, WIDTH)), dynamic=False)


@case(3, "attention", "batch-not-first", "merged-batch")
def attention_batch_middle() -> onnx.ModelProto:
    """nn.MultiheadAttention: tokens first, the batch in the middle, heads merged into the batch, q k v in one weight"""
    b = Build("attention_batch_middle", shape=(TOKENS, WIDTH))
    x = b.op("Transpose", b.image, perm=[1, 0, 2])
    rows = _batch(b, x, axis=1)
    packed = b.op(
        "Reshape",
        _linear(b, x, "attn.in", out=3 * WIDTH),
        b.op("Concat", b.ints(TOKENS), rows, b.ints(3, WIDTH), axis=0),
    )
    packed = b.op("Transpose", b.op("Unsqueeze", packed, b.ints(0)), perm=[3, 1, 2, 0, 4])
    packed = b.op("Squeeze", packed, b.ints(3))
    size = WIDTH // HEADS
    merged = b.op("Concat", b.ints(TOKENS), b.op("Mul", rows, b.ints(HEADS)), b.ints(size), axis=0)
    parts = []
    for i, perm in enumerate(([1, 0, 2], [1, 2, 0], [1, 0, 2])):
        part = b.op("Gather", packed, b.keep(np.array(i, np.int64)), axis=0)
        parts.append(b.op("Transpose", b.op("Reshape", part, merged), perm=perm))
    y = b.op("Transpose", _attend(b, *parts), perm=[1, 0, 2])
    y = b.op("Reshape", y, b.op("Concat", b.op("Mul", rows, b.ints(TOKENS)), b.ints(WIDTH), axis=0))
    y = b.dense(y, WIDTH, WIDTH, "attn.out")
    y = b.op("Reshape", y, b.op("Concat", b.ints(TOKENS), rows, b.ints(WIDTH), axis=0))
    return b.model(b.dense(b.op("ReduceMean", b.op("Add", x, y), b.ints(0), keepdims=0), WIDTH))


@case(3, "attention", "concat")
def vision_patches() -> onnx.ModelProto:
    """The door of a ViT: patches by convolution, a class token expanded to the batch, attention, the token gathered"""
    b = Build("vision_patches")
    x = b.conv(b.image, 3, WIDTH, (4, 4), name="patch", bias=True, strides=[4, 4], pads=[0, 0, 0, 0])
    rows = _batch(b, x)
    x = b.op("Reshape", x, b.op("Concat", rows, b.ints(WIDTH, 4), axis=0))
    x = b.op("Transpose", x, perm=[0, 2, 1])
    token = b.op("Expand", b.keep(b.normal(1, 1, WIDTH), "token"), b.op("Concat", rows, b.ints(1, WIDTH), axis=0))
    x = b.op("Concat", token, x, axis=1)
    weights = b.op("Softmax", b.op("MatMul", x, b.op("Transpose", x, perm=[0, 2, 1])), axis=-1)
    x = b.op("Add", x, _linear(b, b.op("MatMul", weights, x), "mix"))
    x = b.op("Gather", _layer_norm(b, x, "norm"), b.keep(np.array(0, np.int64)), axis=1)
    return b.model(b.dense(x, WIDTH))


@case(4, "attention", "merged-batch")
def windows() -> onnx.ModelProto:
    """Swin's windows: the batch times four, attention inside each window, then back"""
    b = Build("windows", shape=(8, 8, 4))
    x = b.op("Reshape", b.image, b.ints(-1, 2, 4, 2, 4, 4))
    x = b.op("Reshape", b.op("Transpose", x, perm=[0, 1, 3, 2, 4, 5]), b.ints(-1, 16, 4))
    q, k = _linear(b, x, "q", 4, 4), _linear(b, x, "k", 4, 4)
    scores = b.op("MatMul", q, b.op("Transpose", k, perm=[0, 2, 1]))
    x = _linear(b, b.op("MatMul", b.op("Softmax", scores, axis=-1), x), "v", 4, 4)
    x = b.op("Transpose", b.op("Reshape", x, b.ints(-1, 2, 2, 4, 4, 4)), perm=[0, 1, 3, 2, 4, 5])
    x = b.op("Reshape", x, b.ints(-1, 64, 4))
    return b.model(b.dense(b.op("ReduceMean", x, b.ints(1), keepdims=0), 4))
