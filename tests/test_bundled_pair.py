"""The bundled pair: one network in two frameworks, on the same images whichever way round each takes them."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from onnxfi.api import Data
from onnxfi.bundled import data_path, model_path, twin_path
from onnxfi.graph.network import Network
from onnxfi.study.dataset import InputSpec, Preprocessing, load_dataset, synthetic_dataset
from onnxfi.study.inputs import read_images

SHIPPED = Data((data_path(),))


def logits(model: Path, data: Data) -> np.ndarray:
    images = read_images(Network.load(model), data, 0).images
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"input": images})[0])


def weights(model: Path) -> dict[str, np.ndarray]:
    found = onnx.load(model)
    names = json.loads(next(entry.value for entry in found.metadata_props if entry.key == "onnxfi.layers"))
    return {t.name: numpy_helper.to_array(t) for t in found.graph.initializer if t.name in names}


@pytest.mark.parametrize("data", [SHIPPED, Data(synthetic=8)], ids=["shipped", "synthetic"])
def test_both_answer_alike_on_the_same_data(data: Data) -> None:
    model, twin = logits(model_path(), data), logits(twin_path(), data)
    assert model.shape == twin.shape
    assert np.abs(model - twin).max() <= 1e-4
    assert np.array_equal(model.argmax(1), twin.argmax(1))


def test_colours_come_to_both_layouts_alike(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), np.uint8)
    np.savez(tmp_path / "images.npz", images=pixels)
    steps = Preprocessing(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), resize=(7, 8), crop=(4, 6))
    specs = InputSpec((3, 4, 6), "float32"), InputSpec((4, 6, 3), "float32")
    first, last = (load_dataset([tmp_path / "images.npz"], spec, steps).images for spec in specs)
    assert first.shape == (4, 3, 4, 6)
    assert last.tobytes() == np.ascontiguousarray(first.transpose(0, 2, 3, 1)).tobytes()
    made, turned = (synthetic_dataset(2, spec, 1).images for spec in specs)
    assert turned.tobytes() == np.ascontiguousarray(made.transpose(0, 2, 3, 1)).tobytes()


def test_the_twin_has_the_weights_of_the_model() -> None:
    model, twin = weights(model_path()), weights(twin_path())
    # PyTorch -> Keras: BatchNormalization's four have other names; ONNX keeps convolutions (out, in, h, w) for both,
    # and a MatMul (in, out) where the Gemm has (out, in).
    roles = {"kernel": "weight", "gamma": "weight", "beta": "bias", "bias": "bias"}
    roles |= {"moving_mean": "running_mean", "moving_variance": "running_var"}
    assert len(twin) == len(model) == 47
    for path, value in twin.items():
        layer, _, role = path.rpartition("/")
        expected = model[f"{layer}.{roles[role]}"]
        assert value.tobytes() == (expected.T if layer == "linear" and value.ndim == 2 else expected).tobytes(), path


def test_the_committed_twin_is_what_the_script_writes(tmp_path: Path) -> None:
    if any(importlib.util.find_spec(name) is None for name in ("keras", "tensorflow", "tf2onnx")):
        pytest.skip("needs the extra [keras]")
    from models import twin

    for path in (model_path(), data_path()):
        shutil.copy(path, tmp_path)
    facts = twin.write(tmp_path)
    written = json.loads((model_path().parent / "bundle.json").read_text(encoding="utf-8"))["twin"]
    if any(facts[name] != written[name] for name in ("keras", "tf2onnx")):
        pytest.skip(f"the committed twin was written with other versions: {written}")
    assert (tmp_path / twin_path().name).read_bytes() == twin_path().read_bytes()
