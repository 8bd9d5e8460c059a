"""The bundled model's Keras twin: the weights of the bundled file in the Keras network, exported by our converter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper

from converters.keras.framework import keras, quiet, tf2onnx
from converters.keras.run import convert
from converters.keras.twin import copy
from models.registry import architecture
from onnxfi.bundled import data_path, model_path, twin_path
from onnxfi.errors import ModelError

NAME = "fashion-resnet8"


def write(folder: Path) -> dict[str, Any]:
    """Writes the twin beside the model and the images in `folder`; returns what is to be told of it.

    Raises ModelError unless the file is the Keras network and answers as the model does.
    """
    entry = architecture(NAME)
    source, target = folder / model_path().name, folder / twin_path().name
    with quiet():
        model = entry.build("keras")
    copy(_weights(source), model)
    with np.load(folder / data_path().name) as content:
        images = entry.normalisation.apply(content["images"])
    turned = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    report = convert(model, turned.shape[1:], target, entry.normalisation, turned[:17])
    if not report.passed:
        raise ModelError(f"{target} is not the Keras network: {report}")
    ours, theirs = _logits(target, turned), _logits(source, images)
    if not np.array_equal(ours.argmax(1), theirs.argmax(1)):
        raise ModelError(f"{target} gives other classes than {source}")
    versions = {"keras": keras.__version__, "tf2onnx": tf2onnx.__version__}
    return {"model": target.name, **versions, "difference": float(f"{np.abs(ours - theirs).max():.1e}")}


def _weights(path: Path) -> dict[str, NDArray[Any]]:
    """{PyTorch's name: values} of the weights in a file of the PyTorch converter."""
    model = onnx.load(path)
    names = json.loads(next(entry.value for entry in model.metadata_props if entry.key == "onnxfi.layers"))
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.name in names}


def _logits(path: Path, images: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: images})[0])
