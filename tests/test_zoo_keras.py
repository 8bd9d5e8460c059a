"""The zoo in Keras is the zoo in PyTorch: with its weights copied name by name, the same logits."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip("torch", reason="needs the extra [pytorch]")
torch.set_num_threads(1)  # small networks: more threads only wait for each other
if any(importlib.util.find_spec(name) is None for name in ("keras", "tensorflow", "tf2onnx", "onnxscript")):
    pytest.skip("needs the extras [keras] and [pytorch]", allow_module_level=True)

from converters.__main__ import main  # noqa: E402
from converters.keras.export import predict as keras_logits  # noqa: E402
from converters.keras.framework import quiet  # noqa: E402
from converters.keras.twin import copy  # noqa: E402
from converters.pytorch import predict as pytorch_logits  # noqa: E402
from converters.pytorch import stored  # noqa: E402
from models.registry import ARCHITECTURES, architecture  # noqa: E402
from onnxfi.errors import ModelError  # noqa: E402

FAST = ["resnet20", "resnet20-distiller", "fashion-resnet8", "lenet5", "trafficsignnet", "mlp3"]
SLOW = [  # each other way in which a family is built; the rest differ in depth and width only
    "vgg11_bn", "vgg11", "mobilenetv2", "mobilenetv2-cifar100", "densenet121", "densenet121-gtsrb", "googlenet",
    "googlenet-cifar100", "resnet18-cifar100", "resnet18-c", "resnet18-i", "alexnet",
]  # fmt: skip


def untrained(name: str) -> Any:
    """The PyTorch network with other statistics in each BatchNormalization, so that none can stand for another."""
    torch.manual_seed(0)
    net = architecture(name).build()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.1)
    return net


def twin(name: str, state: dict[str, np.ndarray]) -> Any:
    with quiet():
        model = architecture(name).build("keras")
    copy(state, model)
    return model


@pytest.mark.parametrize("name", FAST + [pytest.param(name, marks=pytest.mark.slow) for name in SLOW])
def test_twins_give_the_same_logits(name: str) -> None:
    net = untrained(name)
    images = np.random.default_rng(0).standard_normal((3, *architecture(name).shape), np.float32)
    expected = pytorch_logits(net, images)
    found = keras_logits(twin(name, stored(net)), images.transpose(0, 2, 3, 1))
    # Untrained logits go up to 300: float32 has 24 bits, and sums are taken in another order.
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
    assert expected.std() > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenetv2", "googlenet"])
def test_a_twin_is_exported_and_checked(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights, model = tmp_path / "weights.pt", tmp_path / "model.onnx"
    torch.save(untrained(name).state_dict(), weights)
    assert main(["keras", "--arch", name, "--checkpoint", str(weights), "-o", str(model)]) == 0
    assert "check passed" in capsys.readouterr().out


def test_every_family_is_there_in_keras() -> None:
    for entry in ARCHITECTURES.values():
        family, function = entry.builder.split(":")
        assert callable(getattr(importlib.import_module(f"models.keras.{family}"), function))


def test_weights_that_do_not_fit_are_named() -> None:
    state = stored(untrained("mlp3"))
    with pytest.raises(ModelError, match=r"have no fc3\.weight"):
        twin("mlp3", {name: value for name, value in state.items() if name != "fc3.weight"})
    with pytest.raises(ModelError, match=r"fc1\.weight is \(784, 255\)"):
        twin("mlp3", {**state, "fc1.weight": state["fc1.weight"][:255]})
    with pytest.raises(ModelError, match=r"stores no fc9\.weight"):
        twin("mlp3", {**state, "fc9.weight": state["fc1.weight"]})


@pytest.mark.shared
def test_the_published_resnet20_gives_the_reference_logits_from_keras(tmp_path: Path, shared_data: Path) -> None:
    path = tmp_path / "resnet20.onnx"
    weights, images = shared_data / "weights/cifar10_resnet20-12fca82f.th", "images/cifar10_test_0000-1999.npz"
    assert main(["keras", "--arch", "resnet20", "--checkpoint", str(weights), "-o", str(path)]) == 0
    with np.load(shared_data / images) as content:
        first = architecture("resnet20").normalisation.apply(content["images"][:100]).transpose(0, 2, 3, 1)
    with np.load(shared_data / "reference/cifar10_resnet20-12fca82f_logits.npz") as content:
        reference = content["logits"]
    (logits,) = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"input": first})
    assert np.abs(np.asarray(logits) - reference).max() <= 1e-4


@pytest.mark.shared
def test_a_published_keras_file_has_its_published_accuracy(tmp_path: Path, shared_data: Path) -> None:
    path = tmp_path / "resnet8.onnx"
    assert main(["keras", str(shared_data / "weights/keras/cifar10_resnet8_mlperftiny.h5"), "-o", str(path)]) == 0
    with np.load(shared_data / "images/cifar10_test_0000-1999.npz") as content:
        images, labels = content["images"].astype(np.float32), content["labels"]
    (answer,) = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"input": images})
    # README of the shared data: 87.90 % of these 2,000 images, measured through another ONNX conversion.
    assert int((np.asarray(answer).argmax(1) == labels).sum()) == 1_758
