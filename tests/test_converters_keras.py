"""Keras -> ONNX: every variable under its path, bit for bit up to the order of axes; logits as Keras's."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from keras_sample import SHAPE, initializers, properties, sample  # first: without the extra, it skips

from converters.__main__ import main
from converters.inputs import random_images
from converters.keras import export as exporter
from converters.keras.framework import keras, quiet, tf
from converters.keras.run import convert
from converters.keras.stand_ins import Place, places
from models.registry import architecture
from onnxfi.errors import ModelError


class Squared(keras.layers.Layer):  # type: ignore[misc]
    """Reads its weight only through a computation that an exporter does once and for all."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.root = self.add_weight(shape=(shape[-1],), initializer="he_normal", name="root")

    def call(self, x: Any) -> Any:
        return x * (self.root * self.root)


def squared() -> Any:
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="dense"), Squared(name="squared")])


def grouped() -> Any:
    """A convolution in groups, and a layer that holds tensors that are no variables."""
    layers = keras.layers
    scaled = layers.Normalization(mean=[0.1, 0.2, 0.3, 0.4], variance=[0.5, 0.6, 0.7, 0.8])
    return keras.Sequential([keras.Input((6, 6, 4)), scaled, layers.Conv2D(8, 3, groups=2), layers.Flatten()])


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """The sample in ONNX, and its variables as they were before the export."""
    path = tmp_path_factory.mktemp("export") / "sample.onnx"
    with quiet():
        model = sample()
        stored = {variable.path: variable.numpy() for variable in model.variables}
    report = convert(model, SHAPE, path, None, random_images(SHAPE))
    assert report.passed, str(report)
    assert report.shared == ("twice/kernel",)
    return onnx.load(path), stored


def test_every_variable_is_in_the_file_under_its_path(
    exported: tuple[onnx.ModelProto, dict[str, np.ndarray]],
) -> None:
    model, stored = exported
    found = initializers(model)
    # ONNX keeps kernels (out, in, height, width): the axes of Keras's (height, width, in, out), (height, width, in, m).
    turned = {"first/kernel": (3, 2, 0, 1), "twice/kernel": (3, 2, 0, 1), "depth/kernel": (2, 3, 0, 1)}
    read = {path for path, value in stored.items() if value.dtype == np.float32}
    assert len(read) == 5 + 4 + 3 + 4 + 2
    for path in read:
        value = stored[path].transpose(turned.get(path, range(stored[path].ndim)))
        assert found[path].tobytes() == value.tobytes(), path
    assert found["depth/kernel"].shape == (8, 1, 3, 3)


def test_the_graph_has_the_networks_own_names_and_form(
    exported: tuple[onnx.ModelProto, dict[str, np.ndarray]],
) -> None:
    model, stored = exported
    onnx.checker.check_model(model, full_check=True)
    ops = Counter(node.op_type for node in model.graph.node)
    assert (ops["Conv"], ops["BatchNormalization"], ops["MatMul"]) == (4, 3, 1)
    names = [node.name for node in model.graph.node]
    assert {"first/Conv", "twice/Conv", "twice/Conv_2", "norm_1/BatchNormalization", "relu/Relu"} <= set(names)
    (given,), (logits,) = model.graph.input, model.graph.output
    assert (given.name, logits.name) == ("input", "logits")
    shape = given.type.tensor_type.shape.dim
    assert (shape[0].dim_param, [size.dim_value for size in shape[1:]]) == ("batch", [8, 8, 3])
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    layers = json.loads(properties(model)["onnxfi.layers"])
    assert layers == {path: path.partition("/")[0] for path, value in stored.items() if value.dtype == np.float32}
    assert properties(model)["onnxfi.framework"] == "keras"


def test_convolutions_in_groups(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keras", f"{__name__}:grouped", "-o", str(tmp_path / "out.onnx")]) == 0
    # Those of the convolution: what the Normalization was given are no variables.
    assert "weights: 2 of 2 tensors bit-identical" in capsys.readouterr().out
    (node,) = (node for node in onnx.load(tmp_path / "out.onnx").graph.node if node.op_type == "Conv")
    assert [a.i for a in node.attribute if a.name == "group"] == [2]


def test_epsilon_is_kept(exported: tuple[onnx.ModelProto, dict[str, np.ndarray]]) -> None:
    # TensorFlow's own Python function would raise 1e-5 to 1.001e-5.
    (node,) = (node for node in exported[0].graph.node if node.name == "norm_1/BatchNormalization")
    assert [a.f for a in node.attribute if a.name == "epsilon"] == [pytest.approx(1e-5, rel=1e-6)]


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one.onnx", "other.onnx"):
        with quiet():
            keras.utils.set_random_seed(1)
            model = architecture("fashion-resnet8").build("keras")
        convert(model, (28, 28, 1), tmp_path / name, None, random_images((28, 28, 1)))
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "other.onnx").read_bytes()


def test_what_was_patched_is_put_back() -> None:
    from keras.src.backend import nn
    from keras.src.backend.tensorflow.core import name_scope
    from tf2onnx.optimizer.back_to_back_optimizer import _func_map

    def state() -> tuple[Any, ...]:
        return nn.batch_normalization, name_scope.__enter__, dict(_func_map), tf.function

    before = state()
    with quiet():
        model = squared()
    exporter.export(model, (4,))
    with pytest.raises(ModelError, match="cannot be exported"):
        exporter.export(model, (3,))
    assert state() == before


def test_folded_gives_no_batch_normalization(tmp_path: Path) -> None:
    path = tmp_path / "folded.onnx"
    arguments = ["--arch", "fashion-resnet8", "--random", "0", "--folded", "-o", str(path)]
    assert main(["keras", *arguments]) == 0
    model = onnx.load(path)
    assert not any(node.op_type == "BatchNormalization" for node in model.graph.node)
    assert set(json.loads(properties(model)["onnxfi.layers"]).values()) >= {"conv1", "layer2.0.shortcut.0", "linear"}


def test_a_weight_that_the_exporter_reckons_away_fails_the_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["keras", f"{__name__}:squared", "-o", str(tmp_path / "out.onnx")]) == 1
    told = capsys.readouterr().out
    assert "weights: 2 of 3 tensors bit-identical" in told
    assert "wrong or missing: squared/root" in told
    # The logits are right all the same: what was reckoned was the real value.
    assert float(told.partition("largest difference ")[2].split()[0]) < 1e-5


def test_places_by_hand() -> None:
    # 2 x 3 stored row by row; turned round, and as a column of six. `b` has the same smallest and largest value.
    stored = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([0, 1, 3, 2, 4, 5], np.float32)}
    tensors = {
        "t": stored["a"].T,
        "c": stored["a"].reshape(6, 1),
        "other": np.array([0, 2, 1, 3, 4, 5], np.float32),
        "b": stored["b"],
        "shape": np.array([2, 3]),
    }
    assert places(stored, tensors) == {
        "t": Place("a", (1, 0), (3, 2)),
        "c": Place("a", (0, 1), (6, 1)),
        "b": Place("b", (0,), (6,)),
    }
