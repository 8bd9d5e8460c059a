"""Where a Keras network comes from: a file, a function, `keras.applications`, or `models` with PyTorch's weights."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from converters.inputs import called
from converters.keras.framework import keras, quiet
from models.keras import layers  # noqa: F401  (files may hold its layers, which Keras knows once they are imported)
from models.normalisation import Normalisation
from models.pointer import refuse_pointer
from onnxfi.errors import ModelError

APPLICATIONS = "applications:"
SUFFIXES = (".h5", ".hdf5", ".keras")


def from_file(path: Path) -> Any:
    """The model in a `.keras` or HDF5 file, read without running code from it. Raises ModelError."""
    refuse_pointer(path)
    try:
        with quiet():
            return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as problem:
        raise ModelError(_why_not(path, problem)) from problem


def from_function(text: str) -> Any:
    """The model that "package.module:function" returns. Raises ModelError."""
    with quiet():
        return called(text, keras.Model, "a keras.Model")


def application(text: str, shape: tuple[int, ...] | None) -> tuple[Any, Normalisation | None]:
    """`applications:NAME` with fresh weights, and its normalisation where that is one a channel; never downloads."""
    wanted = text.removeprefix(APPLICATIONS)
    known = {name.lower(): getattr(keras.applications, name) for name in dir(keras.applications) if name[0].isupper()}
    if wanted.lower() not in known:
        raise ModelError(f"keras.applications has no {wanted!r}; it has {', '.join(sorted(known))}")
    builder = known[wanted.lower()]
    with quiet():
        try:
            model = builder(weights=None, input_shape=shape)
        except ValueError as problem:
            raise ModelError(f"{text} does not take images of {shape}: {_first_line(problem)}") from problem
        return model, normalisation_of(sys.modules[builder.__module__])


def load_weights(model: Any, path: Path) -> None:
    """Puts the weights of a Keras file into a model that fits them. Raises ModelError."""
    refuse_pointer(path)
    try:
        with quiet():
            model.load_weights(path)
    except Exception as problem:
        raise ModelError(f"{path} does not fit this network: {_first_line(problem)}") from problem


def input_shape(model: Any, given: tuple[int, ...] | None) -> tuple[int, ...]:
    """One image as the model takes it, (height, width, channels); `given` where the model leaves it open.

    Raises ModelError if the model takes several inputs, or another shape than is given, or neither says.
    """
    inputs = getattr(model, "inputs", None) or []
    if len(inputs) > 1:
        raise ModelError(f"the network takes {len(inputs)} inputs; one tensor of images is what can be converted")
    own = tuple(inputs[0].shape[1:]) if inputs else None
    shape = given or own
    if shape is None or None in shape:
        raise ModelError("the network leaves the size of its images open: give --input-shape, such as 32,32,3")
    if own is not None and any(size not in (None, wanted) for size, wanted in zip(own, shape, strict=True)):
        raise ModelError(f"the network takes images of {own}, not of {shape}")
    return shape


def _why_not(path: Path, problem: Exception) -> str:
    version = _saved_by(path)
    if version is None:
        return f"{path} is not a Keras file: no `.keras` archive and no HDF5 file with a model in it"
    if version.split(".")[0] < "3":
        return (
            f"{path} was saved by Keras {version}, and Keras {keras.__version__} cannot build it again; export it with "
            f"tf2onnx where Keras {version} is installed"
        )
    return f"{path} cannot be loaded: {_first_line(problem)}"


def _saved_by(path: Path) -> str | None:
    """The version of Keras that wrote the file; None where no model of Keras is in it."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return str(json.loads(archive.read("metadata.json"))["keras_version"])
        with h5py.File(path, "r") as file:
            version = file.attrs["keras_version"] if "model_config" in file.attrs else None
            return version.decode() if isinstance(version, bytes) else version
    except (OSError, KeyError, ValueError, TypeError):
        return None


def normalisation_of(module: Any) -> Normalisation | None:
    """What the application's own preprocessing does, if that is one scale, mean and std a channel; else None.

    Found by asking it for black, white, and one pixel of each colour: the ResNets and VGGs of 2015 swap channels, which
    no (pixel * scale - mean) / std does.
    """
    colours = np.concatenate([np.zeros((1, 3)), np.full((1, 3), 255), 255 * np.eye(3)]).astype(np.float32)
    answers = np.asarray(module.preprocess_input(colours.reshape(-1, 1, 1, 3).copy(), data_format="channels_last"))
    black, white, *single = answers.reshape(-1, 3).astype(np.float64)
    if not np.allclose(np.stack(single), np.where(np.eye(3, dtype=bool), white, black)):
        return None
    if np.allclose(white - black, 255):  # the network scales for itself
        return Normalisation(tuple(map(float, -black)), (1.0,) * 3, scale=1.0)
    std = 1 / (white - black)
    return Normalisation(_rounded(-black * std), _rounded(std))


def _rounded(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(round(float(value), 6) for value in values)


def _first_line(problem: Exception) -> str:
    return next((line.strip() for line in str(problem).splitlines() if line.strip()), type(problem).__name__)
