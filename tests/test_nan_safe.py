"""Pooling and clipping against numpy, whose maximum passes NaN on as IEEE 754 and PyTorch do."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from corpus import CASES, images, select
from onnx import TensorProto, helper, numpy_helper

from onnxfi.graph.nan_safe import LABEL, make_nan_safe, traps

Array = np.ndarray[Any, Any]
LEVELS = [ort.GraphOptimizationLevel.ORT_DISABLE_ALL, ort.GraphOptimizationLevel.ORT_ENABLE_ALL]
INF = np.inf


def run(model: onnx.ModelProto, x: Array, level: Any = LEVELS[0]) -> Array:
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0])


def single(
    op: str, opset: int, x: Array, *more: Array | None, rank: int | None = None, outputs: int = 1, **attributes: Any
) -> onnx.ModelProto:
    """A model of one node, its further inputs stored; None leaves one out."""
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    names = ["" if value is None else f"i{slot}" for slot, value in enumerate(more)]
    made = ["y", "indices"][:outputs]
    node = helper.make_node(op, ["x", *names], made, name="it", **attributes)
    stored = [numpy_helper.from_array(v, n) for n, v in zip(names, more, strict=True) if v is not None]
    shape = [f"e{i}" for i in range(x.ndim if rank is None else rank)]
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", kind, [f"d{i}" for i in range(x.ndim)])],
        [helper.make_tensor_value_info(n, TensorProto.INT64 if n == "indices" else kind, shape) for n in made],
        stored,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=4)


def awkward(shape: tuple[int, ...], dtype: str) -> Array:
    """Normal numbers, one in ten of them NaN, infinite, zero of either sign or huge; planes of -inf and of NaN."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal(shape).astype(dtype)
    huge = np.finfo(dtype).max
    special = np.array([np.nan, INF, -INF, 0.0, -0.0, huge, -huge], dtype)
    at = rng.integers(0, x.size, x.size // 10)
    x.flat[at] = rng.choice(special, at.size)
    x[0, 0], x[0, 1], x[1, 0] = -INF, np.nan, -0.0
    x[1, 1].flat[[0, -1]] = INF, -INF
    return x


def max_pool(x: Array, kernel: tuple[int, int], stride: int, pad: int) -> Array:
    """By definition: the maximum of each window, what is padded being less than anything."""
    wide = np.pad(x, [(0, 0), (0, 0), (pad, pad), (pad, pad)], constant_values=-INF)
    windows = np.lib.stride_tricks.sliding_window_view(wide, kernel, axis=(2, 3))[:, :, ::stride, ::stride]
    return np.asarray(windows.max(axis=(4, 5)))


def same(a: Array, b: Array) -> bool:
    """Equal numbers, NaN where there is NaN."""
    return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=True)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("opset", [7, 8, 9, 10, 11, 12, 13, 17, 18, 20, 22, 26])
def test_pooling_as_numpy_does(opset: int, dtype: str, level: Any) -> None:
    """Each opset at which an op or an axes input changed, and each that has a form of its own here."""
    x = awkward((2, 3, 9, 10), dtype)
    clean = np.nan_to_num(x, nan=1, posinf=3, neginf=-3)
    axes = {"axes": [1, 3]} if opset < 18 else {}
    inputs = [] if opset < 18 else [np.array([1, 3])]
    for model, wanted in [
        (single("MaxPool", opset, x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4), max_pool(x, (3, 3), 2, 1)),
        (single("MaxPool", opset, x, kernel_shape=[2, 3], strides=[1, 1]), max_pool(x, (2, 3), 1, 0)),
        (single("GlobalMaxPool", opset, x), x.max((2, 3), keepdims=True)),
        (single("ReduceMax", opset, x, *inputs, keepdims=0, rank=2, **axes), x.max((1, 3))),
        (single("ReduceMin", opset, x, *inputs, keepdims=1, **axes), x.min((1, 3), keepdims=True)),
    ]:
        safe = make_nan_safe(model)
        onnx.checker.check_model(safe, full_check=True)
        assert same(run(safe, x, level), wanted), model.graph.node[0].op_type
        assert run(safe, clean, level).tobytes() == run(model, clean, level).tobytes()
        assert make_nan_safe(safe).SerializeToString() == safe.SerializeToString()
        assert safe.opset_import[0].version == opset


def test_the_trap_is_real() -> None:
    """What all this is for (measured, EXPORT.md 6f): if ONNX Runtime ever passes NaN on by itself, drop the rewrite."""
    x = np.array([np.nan, 1, 0, 0, -INF, -INF, -INF, -INF], np.float32).reshape(1, 2, 2, 2)
    model = single("MaxPool", 20, x, kernel_shape=[2, 2])
    assert run(model, x).ravel().tolist() == [1.0, -3.4028234663852886e38]
    assert str(run(make_nan_safe(model), x).ravel().tolist()) == "[nan, -inf]"


@pytest.mark.parametrize("shape", [(2, 3, 7), (2, 3, 5, 6, 7)])
def test_pooling_of_one_and_three_axes(shape: tuple[int, ...]) -> None:
    x = awkward(shape, "float32")
    model = single("MaxPool", 20, x, kernel_shape=[2] * (len(shape) - 2))
    windows = np.lib.stride_tricks.sliding_window_view(x, [2] * (len(shape) - 2), axis=tuple(range(2, len(shape))))
    assert same(run(make_nan_safe(model), x), windows.max(axis=tuple(range(len(shape), 2 * len(shape) - 2))))


@pytest.mark.parametrize("opset", [7, 10, 11, 12, 26])
def test_clip_without_a_bound(opset: int) -> None:
    x = awkward((2, 3, 4), "float32")
    low, high = np.float32(-0.5), np.float32(0.5)
    for lo, hi in [(low, None), (None, high), (None, None), (low, high)]:
        given = {"min": lo, "max": hi}
        if opset < 11:
            model = single("Clip", opset, x, **{k: float(v) for k, v in given.items() if v is not None})
        else:
            model = single("Clip", opset, x, lo if lo is None else np.array(lo), hi if hi is None else np.array(hi))
        safe = make_nan_safe(model)
        onnx.checker.check_model(safe, full_check=True)
        wanted = np.clip(x, -INF if lo is None else lo, INF if hi is None else hi)
        for level in LEVELS:
            assert same(run(safe, x, level), wanted)
        assert make_nan_safe(safe).SerializeToString() == safe.SerializeToString()


def test_float64() -> None:
    x = awkward((2, 3, 6, 6), "float64")
    model = single("MaxPool", 12, x, kernel_shape=[2, 2], strides=[2, 2])
    assert same(run(make_nan_safe(model), x), max_pool(x, (2, 2), 2, 0))


def test_integers_and_indices_are_left() -> None:
    x = np.arange(-8, 8, dtype=np.int8).reshape(1, 1, 4, 4)
    model = single("MaxPool", 12, x, kernel_shape=[2, 2])
    assert make_nan_safe(model).SerializeToString() == model.SerializeToString()
    y = x.astype(np.float32)
    both = single("MaxPool", 12, y, kernel_shape=[2, 2], outputs=2)
    assert make_nan_safe(both).SerializeToString() == both.SerializeToString()
    assert traps(both) == ("node 'it' (MaxPool) also writes indices, so it drops NaN as ONNX Runtime does",)
    unread = single("MaxPool", 12, y, kernel_shape=[2, 2], outputs=2)
    del unread.graph.output[1]
    assert traps(unread) == ()
    y[0, 0, 0, 0] = np.nan
    assert np.isnan(run(make_nan_safe(unread), y)[0, 0, 0, 0])


def test_positions_are_named() -> None:
    x = np.zeros((2, 3), np.float32)
    model = single("ArgMax", 13, x, axis=1, rank=2)
    assert make_nan_safe(model).SerializeToString() == model.SerializeToString()
    assert traps(model) == ("node 'it' (ArgMax) answers NaN by its position in the tensor",)


def test_behind_an_op_that_onnx_does_not_know() -> None:
    """A contributed op between: its output has the type of its first input, or of its zero point."""
    for kind, mended in (("Gelu", True), ("QLinearAdd", False)):
        x = np.zeros((1, 1, 4, 4), np.float32 if mended else np.int8)
        model = single("MaxPool", 13, x, kernel_shape=[2, 2])
        first = helper.make_node(
            kind, ["x", *["scale", "zero"] * 3 * (not mended)], ["z"], domain="com.microsoft", name="c"
        )
        model.graph.node[0].input[0] = "z"
        model.graph.node.insert(0, first)
        model.graph.initializer.extend(
            [numpy_helper.from_array(np.float32(1), "scale"), numpy_helper.from_array(np.int8(0), "zero")]
        )
        model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
        assert (len(make_nan_safe(model).graph.node) > 2) == mended


@pytest.mark.parametrize("name", select("pool", "opset"))
def test_corpus_keeps_its_answers_and_names(name: str) -> None:
    """Where there is no NaN every logit keeps its bits, and every tensor and node its name."""
    case = CASES[name]
    model = case.model()
    safe = make_nan_safe(model)
    x = images(case, 4)
    assert run(safe, x).tobytes() == run(model, x).tobytes()
    assert {o for n in model.graph.node for o in n.output} <= {o for n in safe.graph.node for o in n.output}
    added = [n for n in safe.graph.node if f"/{LABEL}/" in n.name]
    assert len(safe.graph.node) - len(model.graph.node) == len(added)


def test_rows_keep_to_themselves() -> None:
    """A NaN in one image changes no bit of its neighbours, and no bit of its own other channels."""
    x = np.random.default_rng(0).standard_normal((4, 3, 8, 8)).astype(np.float32)
    safe = make_nan_safe(single("MaxPool", 20, x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4))
    before = run(safe, x)
    x[1, 2, 5, 5] = np.nan
    after = run(safe, x)
    changed = np.argwhere(before.view(np.uint32) != after.view(np.uint32))
    # element (5, 5) lies in the windows around (4, 4), (4, 6), (6, 4), (6, 6): outputs 2 and 3 on either axis
    assert changed.tolist() == [[1, 2, 2, 2], [1, 2, 2, 3], [1, 2, 3, 2], [1, 2, 3, 3]]
    assert np.isnan(after[tuple(changed.T)]).all()
