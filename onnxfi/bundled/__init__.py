"""The demonstration model and its images: a small residual network for Fashion-MNIST (README.md tells the rest)."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def model_path() -> Path:
    """The ONNX file: input float32 (N, 1, 28, 28), N free, output logits float32 (N, 10)."""
    return _path("fashion_resnet8.onnx")


def twin_path() -> Path:
    """The Keras twin's ONNX file: the same weights; input float32 (N, 28, 28, 1), N free."""
    return _path("fashion_resnet8_keras.onnx")


def data_path() -> Path:
    """The .npz file: `images` uint8 (500, 28, 28), `labels` uint8 (500,), `index` int32 (500,), `classes` str (10,)."""
    return _path("fashion_mnist_500.npz")


def _path(name: str) -> Path:
    return Path(str(files(__name__) / name))
