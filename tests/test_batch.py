"""A fixed batch set free: the proposal, and the proof that the engine asks of it (here: the outputs compared)."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from corpus import CASES, images, save, select
from onnx import TensorProto, helper, numpy_helper

from onnxfi.graph.batch import free_batch
from onnxfi.graph.network import Network

Array = np.ndarray[Any, Any]


def run(model: onnx.ModelProto, x: Array) -> Array:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0])


def fixed(
    nodes: list[onnx.NodeProto], shape: list[int], constants: dict[str, Array], rank: int, opset: int = 18
) -> onnx.ModelProto:
    stored = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [f"y{i}" for i in range(rank)])],
        stored,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def node(op: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(" "), [output], name=f"{op}_{output}", **attributes)


def proven(model: onnx.ModelProto, exact: bool = True) -> onnx.ModelProto:
    """Three batches of the model's own size and one image more, at once, are what the model gives batch by batch."""
    before = model.SerializeToString(deterministic=True)
    freed = free_batch(model)
    assert freed is not None
    assert model.SerializeToString(deterministic=True) == before
    onnx.checker.check_model(freed, full_check=True)
    size, *rest = (d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim)
    x = np.random.default_rng(0).standard_normal((4 * size, *rest)).astype(np.float32)
    apart = np.concatenate([run(model, x[i : i + size]) for i in range(0, 4 * size, size)])
    together = run(freed, x[: 3 * size + 1])
    if exact:
        assert together.tobytes() == apart[: 3 * size + 1].tobytes()
    np.testing.assert_allclose(together, apart[: 3 * size + 1], rtol=1e-4, atol=1e-5)
    return freed


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


@pytest.mark.parametrize("name", select("fixed-batch", but=("stuck-batch",)))
def test_corpus_is_freed(name: str, tmp_path: Any) -> None:
    """Up to rounding: one row by itself takes other kernels than many (EXPORT.md 6e)."""
    case = CASES[name]
    freed = proven(Network.load(save(case, tmp_path), output=case.output).model, exact=False)
    assert freed.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert freed.graph.output[0].type.tensor_type.shape.dim[0].dim_param == "batch"


@pytest.mark.parametrize("name", select("stuck-batch"))
def test_what_cannot_be_freed_does_not_pass_the_proof(name: str) -> None:
    """It is proposed all the same; running it fails, or gives as many rows as were asked for but other ones."""
    case = CASES[name]
    model = case.model()
    size = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    x = images(case, 2 * size)
    freed = free_batch(model)
    assert freed is not None
    apart = np.concatenate([run(model, x[:size]), run(model, x[size:])])
    try:
        together = run(freed, x)
    except Exception:  # ONNX Runtime's own exceptions share no other ancestor
        return
    assert together.shape != apart.shape or not np.allclose(together, apart)


@pytest.mark.parametrize("name", select(but=("fixed-batch",)))
def test_nothing_fixed_nothing_proposed(name: str) -> None:
    assert free_batch(CASES[name].model()) is None


@pytest.mark.parametrize("size", [1, 4])
def test_channel_shuffle(size: int) -> None:
    """Reshape (B, C, H, W) to (B, 2, C/2, H, W), swap, and back, as ShuffleNet's exports write it."""
    nodes = [
        node("Reshape", "x split", "a"), node("Transpose", "a", "b", perm=[0, 2, 1, 3, 4]),
        node("Reshape", "b join", "y"),
    ]  # fmt: skip
    constants = {"split": ints(size, 2, 3, 4, 5), "join": ints(size, -1, 4, 5)}
    proven(fixed(nodes, [size, 6, 4, 5], constants, 4))


@pytest.mark.parametrize("size", [1, 4])
def test_windows_fill_the_batch_axis(size: int) -> None:
    """Swin: (B, H, W, C) is cut into windows, B*4 of them on the first axis, and put together again."""
    nodes = [
        node("Reshape", "x six", "a"), node("Transpose", "a", "b", perm=[0, 1, 3, 2, 4, 5]),
        node("Reshape", "b windows", "c"), node("Softmax", "c", "d", axis=1), node("Reshape", "d back", "e"),
        node("Transpose", "e", "f", perm=[0, 1, 3, 2, 4, 5]), node("Reshape", "f image", "y"),
    ]  # fmt: skip
    constants = {
        "six": ints(size, 2, 4, 2, 4, 3), "windows": ints(size * 4, 16, 3), "back": ints(size, 2, 2, 4, 4, 3),
        "image": ints(size, 8, 8, 3),
    }  # fmt: skip
    proven(fixed(nodes, [size, 8, 8, 3], constants, 4))


@pytest.mark.parametrize("size", [1, 4])
def test_sequence_first_attention(size: int) -> None:
    """torch's MultiheadAttention: (L, B, E), heads beside the batch (L, B*4, 2), and (L*B, E) for the projection."""
    nodes = [
        node("Transpose", "x", "a", perm=[1, 0, 2]), node("Reshape", "a heads", "b"),
        node("Transpose", "b", "c", perm=[1, 0, 2]), node("Softmax", "c", "d", axis=1),
        node("Transpose", "d", "e", perm=[1, 0, 2]), node("Reshape", "e flat", "f"), node("Relu", "f", "g"),
        node("Reshape", "g again", "h"), node("Transpose", "h", "y", perm=[1, 0, 2]),
    ]  # fmt: skip
    constants = {"heads": ints(5, size * 4, 2), "flat": ints(5 * size, 8), "again": ints(5, size, 8)}
    proven(fixed(nodes, [size, 5, 8], constants, 3))


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("expanded", [True, False])
def test_class_token(size: int, expanded: bool) -> None:
    """Joined to every image: a stored (B, 1, C) of equal rows, or (1, 1, C) through Expand to a constant shape."""
    token = np.random.default_rng(1).standard_normal((1, 1, 3)).astype(np.float32)
    nodes = [node("Concat", "token x", "y", axis=1)]
    constants = {"token": np.tile(token, (size, 1, 1))}
    if expanded:
        nodes = [node("Expand", "one to", "token"), *nodes]
        constants = {"one": token, "to": ints(size, 1, 3)}
    proven(fixed(nodes, [size, 4, 3], constants, 3))


def test_constant_with_a_row_an_image() -> None:
    """Equal rows become one; different ones stay, and then the batch stays fixed in truth."""
    row = np.random.default_rng(1).standard_normal((1, 3)).astype(np.float32)
    proven(fixed([node("Add", "x c", "y")], [4, 3], {"c": np.tile(row, (4, 1))}, 2))
    other = np.arange(12, dtype=np.float32).reshape(4, 3)
    freed = free_batch(fixed([node("Add", "x c", "y")], [4, 3], {"c": other}, 2))
    assert freed is not None
    assert numpy_helper.to_array(freed.graph.initializer[0]).tobytes() == other.tobytes()


@pytest.mark.parametrize("opset", [9, 13])
@pytest.mark.parametrize("size", [1, 4])
def test_slice_that_takes_every_image(opset: int, size: int) -> None:
    """tf2onnx writes every axis, the batch too: [0, 0, 0, 0] to [B, C, 4, 4] (dnn-benchmarks' ResNet-20)."""
    model = fixed(
        [node("Slice", "x from to", "y")], [size, 2, 6, 6], {"from": ints(0, 0, 0, 0), "to": ints(size, 2, 4, 4)}, 4
    )
    if opset < 10:
        del model.graph.node[0].input[1:], model.graph.initializer[:]
        sliced = {"starts": [0, 0, 0, 0], "ends": [size, 2, 4, 4]}
        model.graph.node[0].attribute.extend(helper.make_attribute(k, v) for k, v in sliced.items())
        model.opset_import[0].version = 9
    assert run(proven(model), np.zeros((7, 2, 6, 6), np.float32)).shape == (7, 2, 4, 4)


def test_slice_ends_of_32_bits() -> None:
    ends = np.array([1, 2, 4, 4], np.int32)
    proven(fixed([node("Slice", "x from to", "y")], [1, 2, 6, 6], {"from": np.zeros(4, np.int32), "to": ends}, 4))


@pytest.mark.parametrize("size", [1, 4])
def test_sizes_of_resize_and_expand(size: int) -> None:
    nodes = [
        node("Resize", "x   sizes", "a", mode="nearest"), node("Expand", "a to", "y"),
    ]  # fmt: skip
    proven(fixed(nodes, [size, 1, 3, 3], {"sizes": ints(size, 1, 6, 6), "to": ints(size, 2, 6, 6)}, 4))


def test_shape_read_at_run_time_is_right_as_it_is() -> None:
    nodes = [
        node("Shape", "x", "s"), node("Gather", "s first", "n"), node("Concat", "n rest", "to", axis=0),
        node("Reshape", "x to", "y"),
    ]  # fmt: skip
    model = fixed(nodes, [1, 2, 6], {"first": ints(0), "rest": ints(-1)}, 2)
    freed = proven(model)
    assert [n.op_type for n in freed.graph.node] == [n.op_type for n in model.graph.node]


def test_shared_shape_constant_is_mended_for_each_reader() -> None:
    """One constant [1, 8], read by a Reshape of the images and by one of a weight, which must stay as it is."""
    nodes = [node("Reshape", "x to", "a"), node("Reshape", "w to", "b"), node("Add", "a b", "y")]
    w = np.arange(8, dtype=np.float32).reshape(2, 4)
    freed = proven(fixed(nodes, [1, 2, 4], {"to": ints(1, 8), "w": w}, 2))
    assert freed.graph.node[1].input[1] == "to"
    assert freed.graph.node[0].input[1] != "to"


def test_behind_an_unknown_op() -> None:
    """onnx knows no com.microsoft Gelu: the first axis is taken for the batch."""
    nodes = [node("Gelu", "x", "a", domain="com.microsoft"), node("Reshape", "a to", "y")]
    model = fixed(nodes, [1, 2, 4], {"to": ints(1, 8)}, 2)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    proven(model)


@pytest.mark.shared
@pytest.mark.parametrize(
    "name", ["dnnbenchmarks_resnet20_keras_tf2onnx", "ortexamples_mnist8_cntk", "vnncomp21_cifar10_resnet_4b"]
)
def test_third_party_models(name: str, shared_data: Any) -> None:
    proven(Network.load(shared_data / "onnx" / f"{name}.onnx").model, exact=False)
