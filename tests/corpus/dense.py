"""Every way to write a matrix product with a weight."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from .build import Build
from .case import CLASSES, case

PIXELS = 3 * 4 * 4


def _flat(name: str, **options: Any) -> tuple[Build, str]:
    b = Build(name, shape=(3, 4, 4), **options)
    return b, b.op("Flatten", b.image, axis=1)


def _two(b: Build, hidden: str, out: int = 6) -> onnx.ModelProto:
    return b.model(b.dense(b.op("Relu", hidden), out))


@case(2, "gemm")
def gemm_transposed() -> onnx.ModelProto:
    """Gemm, transB 1, weight (out, in): PyTorch's"""
    b, x = _flat("gemm_transposed")
    return _two(b, b.dense(x, PIXELS, 6, "hidden"))


@case(2, "gemm")
def gemm_straight() -> onnx.ModelProto:
    """Gemm, transB 0, weight (in, out): Keras's"""
    b, x = _flat("gemm_straight")
    w, c = b.keep(b.normal(PIXELS, 6, scale=0.3), "hidden.kernel"), b.keep(b.normal(6), "hidden.bias")
    return _two(b, b.op("Gemm", x, w, c, name="/hidden/Gemm"))


@case(2, "gemm")
def gemm_scaled() -> onnx.ModelProto:
    """Gemm with alpha 0.5 and beta 2, its bias (1, out)"""
    b, x = _flat("gemm_scaled")
    w, c = b.keep(b.normal(6, PIXELS, scale=0.3), "hidden.weight"), b.keep(b.normal(1, 6), "hidden.bias")
    return _two(b, b.op("Gemm", x, w, c, name="/hidden/Gemm", transB=1, alpha=0.5, beta=2.0))


@case(2, "gemm")
def gemm_no_bias() -> onnx.ModelProto:
    """Gemm without bias, transB 1 and then transB 0"""
    b, x = _flat("gemm_no_bias")
    hidden = b.op("Gemm", x, b.keep(b.normal(6, PIXELS, scale=0.3), "hidden.weight"), transB=1)
    last = b.op("Gemm", b.op("Relu", hidden), b.keep(b.normal(6, CLASSES), "fc.kernel"))
    return b.model(last)


@case(2, "gemm")
def gemm_scalar_bias() -> onnx.ModelProto:
    """Gemm whose bias is one number for all outputs"""
    b, x = _flat("gemm_scalar_bias")
    w, c = b.keep(b.normal(6, PIXELS, scale=0.3), "hidden.weight"), b.keep(b.normal(1), "hidden.bias")
    return _two(b, b.op("Gemm", x, w, c, name="/hidden/Gemm", transB=1))


@case(2, "gemm", "batch-not-first")
def gemm_weight_first() -> onnx.ModelProto:
    """Gemm(weight, images transposed): the batch is the last axis until a Transpose"""
    b, x = _flat("gemm_weight_first")
    w = b.keep(b.normal(6, PIXELS, scale=0.3), "hidden.weight")
    product = b.op("Gemm", w, x, name="/hidden/Gemm", transB=1)
    return _two(b, b.op("Transpose", product, perm=[1, 0]))


@case(2, "gemm", "batch-not-first")
def gemm_trans_a() -> onnx.ModelProto:
    """Gemm with transA over images already transposed"""
    b, x = _flat("gemm_trans_a")
    turned = b.op("Transpose", x, perm=[1, 0])
    w, c = b.keep(b.normal(PIXELS, 6, scale=0.3), "hidden.weight"), b.keep(b.normal(6), "hidden.bias")
    return _two(b, b.op("Gemm", turned, w, c, name="/hidden/Gemm", transA=1))


@case(2, "matmul")
def matmul_add() -> onnx.ModelProto:
    """MatMul and Add, the weight on the right"""
    b, x = _flat("matmul_add")
    y = b.op("MatMul", x, b.keep(b.normal(PIXELS, 6, scale=0.3), "hidden.kernel"), name="/hidden/MatMul")
    y = b.op("Relu", b.op("Add", y, b.keep(b.normal(6), "hidden.bias")))
    y = b.op("MatMul", y, b.keep(b.normal(6, CLASSES), "fc.kernel"), name="/fc/MatMul")
    return b.model(b.op("Add", b.keep(b.normal(CLASSES), "fc.bias"), y))


@case(3, "gemm", "matmul", "wide")
def dense_wide() -> onnx.ModelProto:
    """Wide enough that the runtime's kernels block their sums: 260 operands an output, 67 outputs"""
    b = Build("dense_wide", shape=(1, 4, 65))
    x = b.op("Relu", b.dense(b.op("Flatten", b.image), 260, 67, "hidden"))
    y = b.op("MatMul", x, b.keep(b.normal(67, 33, scale=0.2), "middle.kernel"), name="/middle/MatMul")
    return b.model(b.dense(b.op("Relu", y), 33))


@case(2, "matmul", "left")
def matmul_left() -> onnx.ModelProto:
    """MatMul with the weight as its left operand (mixing tokens, MLP-Mixer)"""
    b = Build("matmul_left", shape=(6, 4))
    y = b.op("MatMul", b.keep(b.normal(5, 6, scale=0.5), "mix.weight"), b.image, name="/mix/MatMul")
    return b.model(b.dense(b.op("Flatten", b.op("Relu", y), axis=1), 20))


@case(3, "matmul", "tokens")
def matmul_tokens() -> onnx.ModelProto:
    """MatMul on rank 3: one weight for every token"""
    b = Build("matmul_tokens", shape=(7, 6))
    y = b.op("MatMul", b.image, b.keep(b.normal(6, 8, scale=0.4), "up.kernel"), name="/up/MatMul")
    y = b.op("Relu", b.op("Add", y, b.keep(b.normal(8, scale=0.1), "up.bias")))
    y = b.op("MatMul", y, b.keep(b.normal(8, 4, scale=0.4), "down.kernel"), name="/down/MatMul")
    return b.model(b.dense(b.op("ReduceMean", y, b.ints(1), keepdims=0), 4))


@case(2, "matmul", "tokens")
def matmul_heads() -> onnx.ModelProto:
    """MatMul with a weight of rank 3: one matrix a head"""
    b = Build("matmul_heads", shape=(2, 5, 4))
    y = b.op("MatMul", b.image, b.keep(b.normal(2, 4, 3, scale=0.5), "heads.weight"), name="/heads/MatMul")
    return b.model(b.dense(b.op("Flatten", b.op("Relu", y), axis=1), 30))


@case(2, "matmul", "narrow", "four")
def matmul_vector() -> onnx.ModelProto:
    """Dense layers wide and narrow: one output, then one input"""
    b, x = _flat("matmul_vector")
    y = b.op("MatMul", x, b.keep(b.normal(PIXELS, 1, scale=0.3), "narrow.kernel"), name="/narrow/MatMul")
    y = b.op("MatMul", b.op("Tanh", y), b.keep(b.normal(1, CLASSES), "wide.kernel"), name="/wide/MatMul")
    return b.model(b.op("Add", y, b.keep(np.linspace(-0.2, 0.2, CLASSES, dtype=np.float32), "wide.bias")))


@case(2, "matmul", "batch-not-first", "merged-batch")
def gemm_of_tokens() -> onnx.ModelProto:
    """Tokens and batch merged into rows for a Gemm (batch slow, token fast), then split again"""
    b = Build("gemm_of_tokens", shape=(6, 4))
    rows = b.op("Reshape", b.image, b.ints(-1, 4))
    y = b.op("Relu", b.dense(rows, 4, 3, "token"))
    return b.model(b.dense(b.op("Reshape", y, b.ints(-1, 18)), 18))


@case(2, "matmul", "batch-not-first", "merged-batch", "interleaved")
def gemm_of_tokens_interleaved() -> onnx.ModelProto:
    """Tokens and batch merged with the batch fast: row t * N + n, which no slice of rows gives back"""
    b = Build("gemm_of_tokens_interleaved", shape=(6, 4))
    turned = b.op("Transpose", b.image, perm=[1, 0, 2])
    rows = b.op("Reshape", turned, b.ints(-1, 4))
    y = b.op("Relu", b.dense(rows, 4, 3, "token"))
    y = b.op("Transpose", b.op("Reshape", y, b.ints(6, -1, 3)), perm=[1, 0, 2])
    return b.model(b.dense(b.op("Flatten", y, axis=1), 18))
