"""Guards: the arithmetic, the nodes that do the same, and what a runtime's optimiser leaves of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from onnxfi.errors import FaultError, ModelError
from onnxfi.faults.guard import Guard, constant_bits, no_mask, vote_of
from onnxfi.graph.guards import guard_nodes, opened, with_guards
from onnxfi.graph.network import Network

LEVELS = [
    ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
]
WEIGHT = np.array([[0.5, -0.25], [1.5, -0.75], [0.125, 0.0625]], np.float32)
MASKS = constant_bits(WEIGHT)
ONES = no_mask("float32")
GUARDS = {
    "mask": Guard("float32", *((mask,) for mask in MASKS)),
    "check": Guard("float32", *ONES, (-0.75,), (1.5,)),
    "both": Guard("float32", *((mask,) for mask in MASKS), (-0.75,), (1.5,)),
    "rows": Guard("float32", (0xBF800000, 0xBFC00000, 0x3F800000), (0x3E000000, 0x3F400000, 0x3C000000),
                  (-0.25, -0.75, 0.0625), (0.5, 1.5, 0.125), row=2),
    "vote": vote_of(WEIGHT),
    "clamp": Guard("float32", *ONES, (-0.75,), (1.5,), clamp=True),
}  # fmt: skip


def model(opset: int = 17) -> onnx.ModelProto:
    """x (N, 2) times WEIGHT transposed, then Relu."""
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["h"], name="gemm", transB=1),
        helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node("Gemm", ["r", "v"], ["y"], name="last"),
    ]
    value = lambda name, size: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size])  # noqa: E731
    stored = [numpy_helper.from_array(WEIGHT, "w"), numpy_helper.from_array(np.ones((3, 2), np.float32), "v")]
    graph = helper.make_graph(nodes, "small", [value("x", 2)], [value("y", 2)], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def session(made: onnx.ModelProto, level: ort.GraphOptimizationLevel, path: Path | None = None) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 4
    if path is not None:
        options.optimized_model_filepath = str(path)
    return ort.InferenceSession(made.SerializeToString(), options)


def test_constant_bits_are_those_that_all_words_share() -> None:
    """By hand: 0.5 = 0x3f000000, -0.25 = 0xbe800000; they share 0x3e000000 set, and what neither has is clear."""
    keep, put = constant_bits(np.array([0.5, -0.25], np.float32))
    assert (keep, put) == (0xBF800000, 0x3E000000)
    restored = Guard("float32", (keep,), (put,)).restored
    assert restored == (30, 29, 28, 27, 26, 25, *range(22, -1, -1))


@pytest.mark.parametrize("guard", GUARDS.values(), ids=GUARDS)
def test_a_guard_changes_no_word_of_its_tensor(guard: Guard) -> None:
    assert guard.apply(WEIGHT).tobytes() == WEIGHT.tobytes()


@given(st.lists(st.floats(width=32, allow_nan=True), min_size=1, max_size=8), st.integers(0, 31))
def test_a_mask_undoes_each_flip_of_the_bits_that_it_names(numbers: list[float], bit: int) -> None:
    values = np.array(numbers, np.float32)
    guard = Guard("float32", *((mask,) for mask in constant_bits(values)))
    flipped = (values.view(np.uint32) ^ np.uint32(1 << bit)).view(np.float32)
    same = guard.apply(flipped).tobytes() == values.tobytes()
    assert same == (bit in guard.restored)


@pytest.mark.parametrize("guard", GUARDS.values(), ids=GUARDS)
@pytest.mark.parametrize("live", [False, True], ids=["at load", "live"])
def test_nodes_do_what_the_arithmetic_says(guard: Guard, live: bool) -> None:
    """Every flip of every word, NaN and infinity among them, through the nodes and through numpy, to the bit.

    Of a clamp what comes after NaN is left to the runtime, and not asked.
    """
    made = with_guards(model(), {"w": guard}, {}, live=live)
    onnx.checker.check_model(made.model)
    graph = opened(made.model, ["w"])
    graph.graph.output.append(helper.make_tensor_value_info(made.words["w"], TensorProto.FLOAT, [3, 2]))
    x = np.ones((4, 2), np.float32)
    runs = [session(graph, level) for level in (LEVELS[0], LEVELS[-1])]
    for site in range(WEIGHT.size):
        for bit in range(32):
            words = WEIGHT.copy().view(np.uint32)
            words.reshape(-1)[site] ^= np.uint32(1 << bit)
            faulty = words.view(np.float32)
            if guard.clamp and np.isnan(faulty).any():
                continue
            wanted = guard.apply(faulty)
            for run in runs:
                assert run.run(None, {"x": x, "w": faulty})[1].tobytes() == wanted.tobytes(), (site, bit)
    answer = ReferenceEvaluator(graph).run(None, {"x": x, "w": faulty})[1]
    assert np.asarray(answer).tobytes() == wanted.tobytes()


@pytest.mark.parametrize("opset", [11, 12, 17, 26])
def test_checks_need_no_new_opset_and_masks_the_newest(opset: int) -> None:
    checked = with_guards(model(opset), {"w": GUARDS["check"]}, {}).model
    masked = with_guards(model(opset), {"w": GUARDS["mask"]}, {}).model
    assert checked.opset_import[0].version == max(13, opset)
    assert masked.opset_import[0].version == 26
    x = np.array([[1, 2], [3, 4], [-1, 0], [0.5, 0.5]], np.float32)
    wanted = session(model(opset), LEVELS[0]).run(None, {"x": x})[0]
    for made in (checked, masked):
        assert session(made, LEVELS[0]).run(None, {"x": x})[0].tobytes() == wanted.tobytes()


@pytest.mark.parametrize("fixed", [False, True], ids=["free batch", "fixed batch"])
@pytest.mark.parametrize("name", GUARDS)
def test_live_guards_survive_every_optimiser_and_others_are_folded(name: str, fixed: bool, tmp_path: Path) -> None:
    plain = model()
    if fixed:
        for value in (*plain.graph.input, *plain.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = 4
    for live in (False, True):
        made = with_guards(plain, {"w": GUARDS[name]}, {}, live=live).model
        for level in LEVELS:
            path = tmp_path / f"{live}.onnx"
            session(made, level, path)
            left = guard_nodes(onnx.load(path))
            assert left if live or level == LEVELS[0] else left == 0


def test_a_flip_in_memory_after_loading_is_mended_by_a_live_guard_alone() -> None:
    """The initializer is lent to the session, which reads it in every run as long as it did not pack it away."""
    x = np.ones((4, 2), np.float32)

    def answers(made: onnx.ModelProto, level: ort.GraphOptimizationLevel) -> tuple[bytes, bytes]:
        lent = ort.OrtValue.ortvalue_from_numpy(WEIGHT.copy())
        options = ort.SessionOptions()
        options.graph_optimization_level = level
        options.add_session_config_entry("session.disable_prepacking", "1")
        options.add_initializer("w", lent)
        run = ort.InferenceSession(made.SerializeToString(), options)
        before = run.run(None, {"x": x})[0].tobytes()
        faulty = WEIGHT.copy()
        faulty.view(np.uint32)[0, 0] ^= np.uint32(1 << 30)
        lent.update_inplace(faulty)
        return before, run.run(None, {"x": x})[0].tobytes()

    before, after = answers(model(), LEVELS[0])
    assert before != after, "without a guard the flip is seen"
    for level in LEVELS:
        before, after = answers(with_guards(model(), {"w": GUARDS["check"]}, {}, live=True).model, level)
        mended = WEIGHT.copy()
        mended[0, 0] = 0
        wanted = np.maximum(x @ mended.T, 0) @ np.ones((3, 2), np.float32)
        assert np.frombuffer(after, np.float32).reshape(4, 2) == pytest.approx(wanted)


def test_an_activation_is_checked_for_all_its_readers() -> None:
    made = with_guards(model(), {}, {"r": Guard("float32", *ONES, (0.0,), (2.0,))})
    assert made.words["r"] == made.model.graph.node[-1].input[0]
    x = np.array([[2, 0], [4, 0]], np.float32)  # r is [1, 3, .25], then [2, 6, .5]: 3 and 6 are out of range
    assert session(made.model, LEVELS[-1]).run(None, {"x": x})[0][:, 0] == pytest.approx([1.25, 2.5])
    assert made.added_bytes == 3 * 4
    assert made.added_nodes == 4


def test_what_cannot_be_guarded_is_refused() -> None:
    with pytest.raises(ModelError, match="'z' is no tensor"):
        with_guards(model(), {"z": GUARDS["check"]}, {})
    with pytest.raises(ModelError, match="'y' is an output"):
        with_guards(model(), {}, {"y": GUARDS["check"]})
    with pytest.raises(FaultError, match="do not go together"):
        Guard("float32", (0x3F,), (0x80,))


@pytest.mark.parametrize("live", [False, True], ids=["at load", "live"])
def test_a_guarded_model_has_the_same_layers_and_stored_words(live: bool, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("plain.onnx", "guarded.onnx")]
    onnx.save(model(), paths[0])
    onnx.save(with_guards(model(), {"w": GUARDS["both"]}, {}, live=live).model, paths[1])
    plain, guarded = (Network.load(path) for path in paths)
    assert [(p.tensor, p.shape) for _, p in guarded.parameters()] == [
        (p.tensor, p.shape) for _, p in plain.parameters()
    ]
    assert [layer.id for layer in guarded.layers] == [layer.id for layer in plain.layers]
