"""Keras -> ONNX: every variable under its path, bit for bit up to the order of axes; logits as Keras's."""

from __future__ import annotations

import importlib.util
import json
import sys
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

if any(importlib.util.find_spec(name) is None for name in ("keras", "tensorflow", "tf2onnx")):
    pytest.skip("needs the extra [keras]", allow_module_level=True)

from converters.__main__ import main
from converters.inputs import random_images
from converters.keras import export as exporter
from converters.keras import source
from converters.keras.framework import keras, quiet, tf
from converters.keras.run import convert
from converters.keras.stand_ins import Place, places
from models.keras.resnet import small
from models.registry import architecture
from onnxfi.errors import ModelError

SHAPE = (8, 8, 3)


def sample() -> Any:
    """Two equal BatchNormalizations, a bias of zeros, one layer read twice, a depthwise one of multiplier 2, a Dropout,
    BatchNormalization of a vector, and a Dense behind a Flatten: 5 + 2 * 4 + 4 + 2 variables that are read."""
    layers = keras.layers
    given = keras.Input(SHAPE)
    x = layers.Conv2D(4, 3, padding="same", name="first")(given)
    x = layers.BatchNormalization(epsilon=1e-5, name="norm_1")(x)
    twice = layers.Conv2D(4, 1, use_bias=False, name="twice")
    x = twice(layers.ReLU(name="relu")(twice(x)))
    x = layers.DepthwiseConv2D(3, 2, padding="same", depth_multiplier=2, name="depth")(x)
    x = layers.BatchNormalization(scale=False, name="norm_2")(layers.Dropout(0.5)(x))
    x = layers.BatchNormalization(name="norm_3")(layers.Flatten()(x))
    return keras.Model(given, layers.Dense(5, name="last")(x), name="sample")


class Squared(keras.layers.Layer):  # type: ignore[misc]
    """Reads its weight only through a computation that an exporter does once and for all."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.root = self.add_weight(shape=(shape[-1],), initializer="he_normal", name="root")

    def call(self, x: Any) -> Any:
        return x * (self.root * self.root)


def squared() -> Any:
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="dense"), Squared(name="squared")])


def open_size() -> Any:
    return keras.Sequential([keras.Input((None, None, 3)), keras.layers.GlobalAveragePooling2D()])


def two_inputs() -> Any:
    one, other = keras.Input((4,)), keras.Input((4,))
    return keras.Model([one, other], keras.layers.Add()([one, other]))


def two_outputs() -> Any:
    given = keras.Input((4,))
    return keras.Model(given, [keras.layers.ReLU()(given), keras.layers.Dense(2)(given)])


def grouped() -> Any:
    """A convolution in groups, and a layer that holds tensors that are no variables."""
    layers = keras.layers
    scaled = layers.Normalization(mean=[0.1, 0.2, 0.3, 0.4], variance=[0.5, 0.6, 0.7, 0.8])
    return keras.Sequential([keras.Input((6, 6, 4)), scaled, layers.Conv2D(8, 3, groups=2), layers.Flatten()])


def gelu() -> Any:
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="gelu")])


def number() -> int:
    return 1


def initializers(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def properties(model: onnx.ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}


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


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_files_of_keras_are_read_and_nothing_is_said(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], suffix: str
) -> None:
    path = tmp_path / f"sample.{suffix}"
    with quiet():
        sample().save(path)
    assert main(["keras", str(path), "-o", str(tmp_path / "out.onnx")]) == 0
    told = capfd.readouterr()
    assert "weights: 18 of 18 tensors bit-identical" in told.out
    assert len(told.out.splitlines()) == 5
    assert told.err == ""


def test_files_with_layers_of_the_zoo_are_read(tmp_path: Path) -> None:
    with quiet():
        small((3, 8, 8), 4, depth=8).save(tmp_path / "net.keras")  # its shortcuts are a layer of our own
    assert main(["keras", str(tmp_path / "net.keras"), "-o", str(tmp_path / "net.onnx")]) == 0


def test_weights_of_keras_are_taken(tmp_path: Path) -> None:
    name = "fashion-resnet8"
    with quiet():
        keras.utils.set_random_seed(3)
        model = architecture(name).build("keras")
        model.save_weights(tmp_path / "net.weights.h5")
    arguments = ["--checkpoint", str(tmp_path / "net.weights.h5"), "-o", str(tmp_path / "net.onnx")]
    assert main(["keras", "--arch", name, *arguments]) == 0
    found = initializers(onnx.load(tmp_path / "net.onnx"))
    kernel = model.get_layer("layer2.0.conv1").kernel.numpy()
    assert found["layer2.0.conv1/kernel"].tobytes() == kernel.transpose(3, 2, 0, 1).tobytes()


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


@pytest.mark.parametrize(
    ("name", "mean", "std", "scale"),
    [
        # keras.io: "scaled between -1 and 1" and "scaled by ImageNet's mean and standard deviation"; EfficientNet
        # scales for itself; ResNet of 2015 turns RGB into BGR, which no mean and std say.
        ("mobilenet", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 1 / 255),
        ("densenet", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 1 / 255),
        ("efficientnet", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 1.0),
        ("resnet", None, None, None),
    ],
)
def test_normalisation_of_the_applications(
    name: str, mean: tuple[float, ...] | None, std: tuple[float, ...], scale: float
) -> None:
    known = source.normalisation_of(getattr(keras.applications, name))
    assert (known is None) == (mean is None)
    if known is not None:
        assert known.mean == pytest.approx(mean)
        assert known.std == pytest.approx(std)
        assert known.scale == scale


def test_an_application_by_name(tmp_path: Path) -> None:
    path = tmp_path / "mobilenet.onnx"
    arguments = ["--random", "0", "--input-shape", "32,32,3", "-o", str(path)]
    assert main(["keras", "applications:MobileNet", *arguments]) == 0
    known = properties(onnx.load(path))
    # Howard et al. 2017 (arXiv:1704.04861), table 1: one convolution, 13 pairs of depthwise and pointwise, one Dense.
    assert len({layer for layer in json.loads(known["onnxfi.layers"]).values() if "bn" not in layer}) == 1 + 26 + 1
    assert (known["onnxfi.mean"], known["onnxfi.std"]) == ("0.5,0.5,0.5", "0.5,0.5,0.5")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["none.h5"], "none.h5 cannot be read"),
        (["torn.h5"], "torn.h5 is not a Keras file"),
        (["pointer.keras"], "git lfs pull"),
        (["old.keras"], "was saved by Keras 2.14.0"),
        (["applications:nothing", "--random", "0"], "mobilenet"),
        (["applications:mobilenet"], "--checkpoint"),
        (["--arch", "resnet20"], "--checkpoint"),
        (["--arch", "resnet21", "--random", "0"], "there are resnet20"),
        (["--arch", "resnet20", "--checkpoint", "torn.h5"], "torn.h5 does not fit"),
        (["--arch", "fashion-resnet8", "--random", "0", "--opset", "19"], "opset 19"),
        (["--arch", "fashion-resnet8", "--random", "0", "--input-shape", "32,32,3"], "takes images of (28, 28, 1)"),
        (["models.keras.resnet:none"], "models.keras.resnet:none"),
        ([f"{__name__}:number"], "not a keras.Model"),
        ([f"{__name__}:open_size"], "--input-shape"),
        ([f"{__name__}:two_inputs"], "2 inputs"),
        ([f"{__name__}:two_outputs"], "one tensor"),
        ([f"{__name__}:gelu"], "does not translate Erfc"),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str],
    sentence: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("torn.h5").write_text("nothing of Keras")
    Path("pointer.keras").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with zipfile.ZipFile("old.keras", "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "2.14.0"}')
        archive.writestr("config.json", '{"module": "keras.src.engine.functional", "class_name": "Functional"}')
    assert main(["keras", *arguments, "-o", "out.onnx"]) == 2
    message = capsys.readouterr().err
    assert sentence in message
    assert message.count("\n") == 1


def test_without_keras_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "keras", None)
    for name in [name for name in sys.modules if name.startswith("converters.keras")]:
        monkeypatch.delitem(sys.modules, name)
    assert main(["keras", "net.keras", "-o", str(tmp_path / "out.onnx")]) == 2
    assert "pip install -e '.[keras]'" in capsys.readouterr().err


def test_another_backend_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    for name in [name for name in sys.modules if name.startswith("converters.keras")]:
        monkeypatch.delitem(sys.modules, name)
    assert main(["keras", "net.keras", "-o", "out.onnx"]) == 2
    assert "Keras already runs on torch" in capsys.readouterr().err
