"""A fault in a whole model: what ONNX Runtime computes is what changing the word by hand gives.

Expected numbers are made here, with numpy on the bits of the stored words; the dtypes are those of the issue's point 5.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes  # noqa: F401  (gives numpy its bfloat16)
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxfi.errors import FaultError
from onnxfi.faults.bits import Word
from onnxfi.faults.fault import Change, Fault, Site
from onnxfi.faults.spec import Stored
from onnxfi.graph.fault_node import Layout
from onnxfi.graph.rewrite import tensors, with_delta, with_faults

Array = np.ndarray[Any, Any]
LEVELS = [ort.GraphOptimizationLevel.ORT_DISABLE_ALL, ort.GraphOptimizationLevel.ORT_ENABLE_ALL]
DTYPES = ["float64", "float32", "float16", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
FLOAT = TensorProto.FLOAT


def run(model: onnx.ModelProto, fed: Array | None = None, level: Any = LEVELS[0]) -> list[Array]:
    onnx.checker.check_model(model, full_check=True)
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(v) for v in session.run(None, {} if fed is None else {session.get_inputs()[0].name: fed})]


def model_of(
    nodes: list[onnx.NodeProto],
    weights: dict[str, Array],
    x: tuple[str, list[int | str]] | None,
    y: dict[str, tuple[str, int]],
    opset: int = 20,
) -> onnx.ModelProto:
    """`x`: dtype and shape of the input 'x'; `y`: dtype and rank of each output."""
    inputs = [] if x is None else [helper.make_tensor_value_info("x", of(x[0]), x[1])]
    outputs = [helper.make_tensor_value_info(n, of(d), [f"{n}{i}" for i in range(r)]) for n, (d, r) in y.items()]
    stored = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def of(dtype: str) -> int:
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def node(op: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), outputs.split(), name=f"{op}_{outputs.split()[0]}", **attributes)


def awkward(dtype: str, shape: tuple[int, ...]) -> Array:
    """Random words: among floats NaN with payloads, infinities and denormals as well."""
    word = Word(dtype)
    words = np.random.default_rng(7).integers(0, word.mask, shape, dtype=np.uint64, endpoint=True)
    return word.values(words.astype(word.unsigned))


def changes(width: int) -> list[tuple[int, Change]]:
    """One change of each kind, on ten elements, top and bottom bits among them."""
    top = width - 1
    return [
        (0, Change.flip(top)), (3, Change.flip(0)), (5, Change.flip(top - 1)), (6, Change.stuck_at_0(top - 1)),
        (7, Change.stuck_at_1(top - 1)), (11, Change.stuck_at_0(0)), (12, Change.stuck_at_1(1)),
        (13, Change.mask(0b1011)), (17, Change(0, 1)), (23, Change.flip(2, 4, top)),
    ]  # fmt: skip


def changed(values: Array, edits: list[tuple[int, Change]]) -> Array:
    """By hand, in Python's integers."""
    word = Word(values.dtype.name)
    words = word.words(np.ascontiguousarray(values)).reshape(-1).copy()
    for index, change in edits:
        words[index] = (int(words[index]) & change.keep & word.mask) ^ change.toggle
    return word.values(words.reshape(values.shape))


def fault(name: str, edits: list[tuple[int, Change]]) -> Fault:
    return Fault(tuple((Site(name, index), change) for index, change in edits))


def same(a: Array, b: Array) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_stored_word_of_every_dtype(dtype: str, level: Any) -> None:
    weight = awkward(dtype, (2, 3, 4))
    model = model_of([node("Reshape", "w to", "y")], {"w": weight, "to": np.array([4, 6])}, None, {"y": (dtype, 2)})
    edits = changes(Word(dtype).width)
    for baked in (False, True):
        faulty = with_faults(model, fault("w", edits), baked=baked)
        assert same(run(faulty, level=level)[0], changed(weight, edits).reshape(4, 6))
    assert same(run(model, level=level)[0], weight.reshape(4, 6))  # the golden model is as it was


@pytest.mark.parametrize("dtype", DTYPES)
def test_activation_of_every_dtype(dtype: str) -> None:
    """The model's input, what a node writes, and the output: the same change in every image, and in no other word."""
    edits = changes(Word(dtype).width)
    images = awkward(dtype, (5, 2, 3, 4))
    turn = [node("Transpose", "x", "t", perm=[0, 3, 1, 2]), node("Transpose", "t", "y", perm=[0, 2, 3, 1])]
    model = model_of(turn, {}, (dtype, ["n", 2, 3, 4]), {"y": (dtype, 4)}, opset=13)
    for name, shape in {"x": (2, 3, 4), "t": (4, 2, 3), "y": (2, 3, 4)}.items():
        rows = {name: Layout(of(dtype), shape)}
        got = run(with_faults(model, fault(name, edits), rows), images)[0]
        there = images if name != "t" else images.transpose(0, 3, 1, 2)
        rowwise = np.stack([changed(row, edits) for row in there])
        assert same(got, rowwise if name != "t" else np.ascontiguousarray(rowwise.transpose(0, 2, 3, 1))), name


def test_bfloat16_stored_behind_a_cast() -> None:
    weight = np.linspace(-2, 2, 12).reshape(3, 4).astype("bfloat16")
    nodes = [node("Cast", "w", "wide", to=FLOAT), node("MatMul", "x wide", "y")]
    model = model_of(nodes, {"w": weight}, ("float32", ["n", 3]), {"y": ("float32", 2)})
    edits = [(5, Change.flip(14)), (6, Change.flip(15)), (0, Change.stuck_at_1(0))]
    x = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    by_hand = model_of(nodes, {"w": changed(weight, edits)}, ("float32", ["n", 3]), {"y": ("float32", 2)})
    for baked in (False, True):
        assert same(run(with_faults(model, fault("w", edits), baked=baked), x)[0], run(by_hand, x)[0])
    assert not same(run(by_hand, x)[0], run(model, x)[0])


def test_scalar_and_typed_fields() -> None:
    """A tensor without axes, stored in float_data rather than in raw bytes."""
    stored = helper.make_tensor("w", FLOAT, [], [1.5])
    model = model_of([node("Mul", "x w", "y")], {}, ("float32", ["n"]), {"y": ("float32", 1)})
    model.graph.initializer.append(stored)
    x = np.array([1, 2], np.float32)
    for baked in (False, True):  # bit 23, the last of the exponent, is 1 in 1.5 (exponent 127): without it, 0.75
        assert run(with_faults(model, fault("w", [(0, Change.flip(23))]), baked=baked), x)[0].tolist() == [0.75, 1.5]


def test_all_readers_see_it_and_names_stay() -> None:
    """A tensor with three readers, one of them the graph's output list; a weight that two nodes read."""
    nodes = [
        node("Add", "x w", "a"), node("Neg", "a", "b"), node("Mul", "a w", "c"), node("Concat", "a b c", "y", axis=1)
    ]  # fmt: skip
    weight = np.array([[1.0, 2.0]], np.float32)
    model = model_of(nodes, {"w": weight}, ("float32", ["n", 2]), {"y": ("float32", 2), "a": ("float32", 2)})
    model.graph.output[1].name = "a"
    x = np.array([[1, 1], [2, 4]], np.float32)
    row = {"a": Layout(FLOAT, (2,))}
    y, a = run(with_faults(model, fault("a", [(1, Change.flip(31))]), row), x)
    # a = x + w = [2 3; 3 6]; its second element changes sign
    assert a.tolist() == [[2, -3], [3, -6]]
    assert y.tolist() == [[2, -3, -2, 3, 2, -6], [3, -6, -3, 6, 3, -12]]
    faulty = with_faults(model, fault("w", [(0, Change.flip(31))]))
    y, a = run(faulty, x)  # w = [-1 2]
    assert a.tolist() == [[0, 3], [1, 6]]
    assert y.tolist() == [[0, 3, 0, -3, 0, 6], [1, 6, -1, -6, -1, 12]]
    assert {"x", "y", "a"} <= {v.name for v in (*faulty.graph.input, *faulty.graph.output)}
    assert "w" in {t.name for t in faulty.graph.initializer}


def test_weight_and_activation_at_once() -> None:
    model = model_of(
        [node("Mul", "x w", "y")], {"w": np.array([2, 2], np.float32)}, ("float32", ["n", 2]), {"y": ("float32", 2)}
    )
    both = Fault(((Site("w", 0), Change.value(3, Word("float32"))), (Site("x", 1), Change.flip(31))))
    got = run(with_faults(model, both, {"x": Layout(FLOAT, (2,))}), np.array([[5, 7]], np.float32))[0]
    assert got.tolist() == [[15, -14]]


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        (("n", 3, 2), Layout(FLOAT, (3, 2))),
        ((3, "n", 2), Layout(FLOAT, (3, 2), axis=1)),
        ((3, 2, "n"), Layout(FLOAT, (3, 2), axis=2)),
        (("n", 2), Layout(FLOAT, (3, 2), repeat=3)),
        (("n", 2), Layout(FLOAT, (3, 2), repeat=3, minor=True)),
        ((2, "n"), Layout(FLOAT, (2, 3), axis=1, repeat=3)),
    ],
)
def test_rows_wherever_the_images_lie(shape: tuple[int | str, ...], layout: Layout) -> None:
    """Four images of six numbers each, stacked in each way that the engine knows; the fault hits number 4 of each."""
    rows = np.random.default_rng(1).standard_normal((4, *layout.shape)).astype(np.float32)

    def stack(each: Array) -> Array:
        at = layout.axis + (1 if layout.minor else 0)
        return np.moveaxis(each, 0, at).reshape(layout.stacked(4 * layout.repeat))

    rank = len(shape)
    model = model_of([node("Abs", "x", "y")], {}, ("float32", list(shape)), {"y": ("float32", rank)})
    wanted = np.abs(rows).reshape(4, -1)
    wanted[:, 4] *= -1
    got = run(with_faults(model, fault("y", [(4, Change.flip(31))]), {"y": layout}), stack(rows))[0]
    assert same(got, stack(wanted.reshape(rows.shape)))
    delta = np.array([0.5, -1, 2, 1e-9], np.float32)
    summed = np.abs(rows).reshape(4, -1)
    summed[:, 4] += delta
    assert same(run(with_delta(model, "y", 4, delta, layout), stack(rows))[0], stack(summed.reshape(rows.shape)))


@pytest.mark.parametrize("opset", [7, 9, 12, 20, 26])
def test_delta_is_exact_and_at_the_models_opset(opset: int) -> None:
    """float16 sums are float16's own; NaN and -0.0 elsewhere pass untouched; one delta serves any number of images."""
    model = model_of([node("Relu", "x", "y")], {}, ("float16", ["n", 3]), {"y": ("float16", 2)}, opset=opset)
    x = np.array([[np.nan, 2049, 3], [-0.0, 1, np.inf]], np.float16)
    golden = run(model, x)[0]
    delta = np.array([1.5], np.float16)
    faulty = with_delta(model, "y", 1, delta, Layout(TensorProto.FLOAT16, (3,)))
    assert faulty.opset_import[0].version == max(opset, 9)
    wanted = golden.copy()
    wanted[:, 1] = golden[:, 1] + delta
    assert same(run(faulty, x)[0], wanted)


def test_sparse_in_the_file() -> None:
    """A fault in a large weight or activation adds a few hundred bytes and nodes, not masks."""
    weight = np.zeros((256, 256), np.float32)
    model = model_of([node("MatMul", "x w", "y")], {"w": weight}, ("float32", ["n", 256]), {"y": ("float32", 2)})
    plain = model.ByteSize()
    edits = [(9, Change.flip(3))]
    assert with_faults(model, fault("w", edits)).ByteSize() - plain < 2_000
    assert with_faults(model, fault("y", edits), {"y": Layout(FLOAT, (256,))}).ByteSize() - plain < 3_000
    assert with_faults(model, fault("w", edits), baked=True).ByteSize() == plain


def test_baked_keeps_the_opset_and_everything_else() -> None:
    model = model_of([node("Neg", "w", "y")], {"w": np.array([1, 2], np.float32)}, None, {"y": ("float32", 1)}, opset=7)
    model.ir_version = 4
    baked = with_faults(model, fault("w", [(1, Change.flip(31))]), baked=True)
    assert (baked.opset_import[0].version, baked.ir_version) == (7, 4)
    assert baked.graph.node == model.graph.node
    assert run(baked)[0].tolist() == [-1, 2]
    assert with_faults(model, fault("w", [(1, Change.flip(31))])).opset_import[0].version == 26


def test_tensors_that_a_fault_can_hit() -> None:
    weights = {"w": np.ones((2, 3), np.float16), "b": np.ones((), np.int8), "mask": np.ones(2, np.bool_)}
    model = model_of([], weights, None, {})
    four = TensorProto(name="w4", data_type=TensorProto.INT4, dims=[2], raw_data=b"\0")
    model.graph.initializer.append(four)
    rows = {
        "x": Layout(FLOAT, (3, 8)),
        "seq": Layout(FLOAT, (5, 8), axis=1),
        "win": Layout(FLOAT, (4, 8), repeat=4),
    }
    assert tensors(model, rows) == {
        "w": Stored("float16", (2, 3)), "b": Stored("int8", ()),
        "x": Stored("float32", (3, 8)), "seq": Stored("float32", (5, 8)), "win": Stored("float32", (4, 8)),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "index", "change", "baked", "said"),
    [
        ("nowhere", 0, Change.flip(0), False, "neither an initializer"),
        ("y", 0, Change.flip(0), True, "only those can be baked"),
        ("w", 2, Change.flip(0), False, "not within 0 to 1"),
        ("w", 2, Change.flip(0), True, "not within 0 to 1"),
        ("y", 2, Change.flip(0), False, "not within 0 to 1"),
        ("w", 0, Change.flip(40), False, "does not fit words of uint32"),
        ("flag", 0, Change.flip(0), False, "bits of dtype 'bool'"),
    ],
)
def test_refusals_name_the_tensor(name: str, index: int, change: Change, baked: bool, said: str) -> None:
    weights: dict[str, Array] = {"w": np.ones(2, np.float32), "flag": np.ones(1, np.bool_)}
    nodes = [node("Mul", "x w", "y"), node("Cast", "flag", "z", to=FLOAT)]
    model = model_of(nodes, weights, ("float32", ["n", 2]), {"y": ("float32", 2), "z": ("float32", 1)})
    with pytest.raises(FaultError, match=said):
        with_faults(model, fault(name, [(index, change)]), {"y": Layout(FLOAT, (2,))}, baked=baked)


def test_delta_of_another_dtype_is_refused() -> None:
    model = model_of([node("Neg", "x", "y")], {}, ("float32", ["n", 2]), {"y": ("float32", 2)})
    with pytest.raises(FaultError, match="one float32 an image, not float64"):
        with_delta(model, "y", 0, np.zeros(3), Layout(FLOAT, (2,)))
    with pytest.raises(FaultError, match="not within 0 to 1"):
        with_delta(model, "y", 2, np.zeros(3, np.float32), Layout(FLOAT, (2,)))


def test_input_that_is_an_output_is_refused() -> None:
    model = model_of([node("Neg", "x", "y")], {}, ("float32", ["n", 2]), {"y": ("float32", 2)})
    model.graph.output.append(model.graph.input[0])
    with pytest.raises(FaultError, match="no fault can come between"):
        with_faults(model, fault("x", [(0, Change.flip(0))]), {"x": Layout(FLOAT, (2,))})
