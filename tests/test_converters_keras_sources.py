"""Keras -> ONNX, where the network comes from: files, weights, applications, functions; and what is none of them."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import onnx
import pytest
from keras_sample import initializers, properties, sample  # first: without the extra, it skips

from converters.__main__ import main
from converters.keras import source
from converters.keras.framework import keras, quiet
from models.keras.resnet import small
from models.registry import architecture


def open_size() -> Any:
    return keras.Sequential([keras.Input((None, None, 3)), keras.layers.GlobalAveragePooling2D()])


def two_inputs() -> Any:
    one, other = keras.Input((4,)), keras.Input((4,))
    return keras.Model([one, other], keras.layers.Add()([one, other]))


def two_outputs() -> Any:
    given = keras.Input((4,))
    return keras.Model(given, [keras.layers.ReLU()(given), keras.layers.Dense(2)(given)])


def gelu() -> Any:
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="gelu")])


def number() -> int:
    return 1


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
