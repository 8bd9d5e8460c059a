"""Fault lists between frameworks: names by match file or by numbers, indices by axes, results carried along."""

from __future__ import annotations

from pathlib import Path

import listed_nets
import numpy as np
import pytest

from onnxfi.api import faults
from onnxfi.errors import FaultError
from onnxfi.faults.listing import Entry, FaultList, read_list
from onnxfi.graph.network import Network
from onnxfi.study.listed import find, list_name, twins, view, weights

ROWS = "Injection,Layer,TensorIndex,Bit\n"
# A word of each layer: by hand, depthwise (5, 0, 1, 2) of multiplier 2 is channel 2, copy 1.
PYTORCH = ROWS + '0,body.conv,"(2, 1, 0, 2)",30\n1,body.depth,"(5, 0, 1, 2)",7\n2,head,"(3, 4)",31\n'
KERAS = ROWS + '0,conv2d,"(0, 2, 1, 2)",30\n1,depthwise_conv2d,"(1, 2, 2, 1)",7\n2,dense,"(4, 3)",31\n'


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nets")
    listed_nets.pytorch(folder / "pytorch.onnx")
    listed_nets.pytorch(folder / "nameless.onnx", named=False)
    listed_nets.keras(folder / "keras.onnx")
    listed_nets.match(folder / "match.txt")
    (folder / "pytorch.csv").write_text(PYTORCH)
    (folder / "keras.csv").write_text(KERAS)
    return folder


def test_both_files_hold_the_same_weights_in_pytorch_s_view(room: Path) -> None:
    wanted = listed_nets.weights()
    for file in ("pytorch", "keras", "nameless"):
        network = Network.load(room / f"{file}.onnx", unshare=True)
        for weight, values in zip(weights(network), wanted.values(), strict=True):
            assert np.array_equal(view(network, weight), values), (file, weight.parameter.tensor)


def test_two_models_are_matched_by_their_numbers(room: Path) -> None:
    there = faults.convert(room / "pytorch.csv", models=(room / "pytorch.onnx", room / "keras.onnx"))
    assert there.entries == read_list(room / "keras.csv").entries
    back = faults.convert(room / "keras.csv", models=(room / "keras.onnx", room / "pytorch.onnx"))
    assert back.entries == read_list(room / "pytorch.csv").entries


def test_a_match_file_gives_names_and_axes_give_indices(room: Path, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("".join(line for line in PYTORCH.splitlines(keepends=True) if "depth" not in line))
    there = faults.convert(path, match=room / "match.txt", out=tmp_path / "there.csv", line_ends="crlf")
    assert there.entries == (Entry(0, "conv2d", (0, 2, 1, 2), 30), Entry(2, "dense", (4, 3), 31))
    assert (tmp_path / "there.csv").read_bytes().count(b"\r\n") == 3
    back = faults.convert(tmp_path / "there.csv", match=room / "match.txt")
    assert back.entries == read_list(path).entries


def test_without_names_to_go_by_layers_keep_theirs(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(ROWS + '0,conv2d_1,"(2, 1, 0, 3)",15\n')
    assert faults.convert(path).entries == (Entry(0, "conv2d_1", (3, 0, 2, 1), 15),)
    assert faults.convert(path, to="keras").entries == (Entry(0, "conv2d_1", (0, 3, 1, 2), 15),)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("PT;TF\na;b\n", "header is not PT,TF"),
        ("PT,TF\nbody.conv\n", "line 2: 1 names where a pair belongs"),
        ("PT,TF\nbody.conv,a\nhead,a\n", "line 3: 'head' or 'a' has a partner already"),
        ("PT,TF\nbody.conv,conv2d\nhead,dense\n", "does not name layer 'body.depth'"),
    ],
)
def test_a_match_file_that_does_not_do(room: Path, tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "match.txt").write_text(text)
    with pytest.raises(FaultError, match=says):
        faults.convert(room / "pytorch.csv", match=tmp_path / "match.txt", to="keras")


def test_a_true_depthwise_index_does_not_turn_without_models(room: Path) -> None:
    with pytest.raises(FaultError, match="DepthwiseConv2D"):
        faults.convert(room / "keras.csv", match=room / "match.txt")


def test_models_of_other_numbers_are_refused(room: Path, tmp_path: Path) -> None:
    from onnx import load, numpy_helper, save

    model = load(room / "keras.onnx")
    kernel = numpy_helper.to_array(model.graph.initializer[0]) * 2  # as folding BatchNormalization would
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(kernel, "k1"))
    save(model, tmp_path / "folded.onnx")
    with pytest.raises(FaultError, match=r"no weight with the numbers that layer 'body\.conv' has"):
        faults.convert(room / "pytorch.csv", models=(room / "pytorch.onnx", tmp_path / "folded.onnx"))


def test_names_are_found_in_metadata_then_initializers_then_the_graph(room: Path) -> None:
    keras, pytorch, bare = (Network.load(room / f"{n}.onnx", unshare=True) for n in ("keras", "pytorch", "nameless"))
    assert {how for _, how in find(listed_nets.KERAS, keras).values()} == {"metadata"}
    assert {how for _, how in find(listed_nets.PYTORCH, pytorch).values()} == {"initializer"}
    assert {name: how for name, (_, how) in find(["n1", "nowhere"], bare).items()} == {"n1": "graph"}
    assert [list_name(keras, weight) for weight in weights(keras)] == list(listed_nets.KERAS)
    named = {name: weight for name, (weight, _) in find(listed_nets.PYTORCH, pytorch).items()}
    assert [w.parameter.tensor for w in twins(named, pytorch, bare).values()] == ["w1", "w2", "w3"]


def test_the_last_part_of_a_tensorflow_path_is_the_layer_s_name(room: Path, tmp_path: Path) -> None:
    from onnx import load, save

    model = load(room / "nameless.onnx")
    paths = {
        "w1": "model_9/a/conv2d/Conv2D/ReadVariableOp:0",
        "w2": "model_9/b/twice/Conv2D",
        "w3": "model_9/twice/MatMul",
    }
    for initializer in model.graph.initializer:
        initializer.name = paths[initializer.name]
    for node in model.graph.node:
        node.input[:] = [paths.get(name, name) for name in node.input]
    save(model, tmp_path / "tf.onnx")
    found = find(["conv2d", "model_9/twice", "twice"], Network.load(tmp_path / "tf.onnx", unshare=True))
    assert {name: (w.parameter.tensor, how) for name, (w, how) in found.items()} == {
        "conv2d": (paths["w1"], "graph"),
        "model_9/twice": (paths["w3"], "initializer"),  # "twice" alone would be two layers
    }


@pytest.mark.shared
def test_the_published_pair_is_converted_row_for_row(shared_data: Path) -> None:
    folder = shared_data / "fault_lists"
    there = faults.convert(folder / "ResNet20_FL.csv", match=folder / "ResNet20_match.txt")
    said = read_list(folder / "ResNet20_TF_FL.csv").entries
    assert [(e.injection, e.layer, e.index, e.bit) for e in there.entries] == [
        (e.injection, e.layer, e.index, e.bit) for e in said
    ]
    assert FaultList("", there.entries).layers[-1] == "dense"
    assert all(entry.counts and entry.counts.images == 10_000 for entry in there.entries)
