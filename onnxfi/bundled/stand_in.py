"""The demonstration model and its images, where none are named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from onnxfi.bundled import data_path, model_path, twin_path
from onnxfi.study.settings import Data


def stand_in(model: Path | str | None, data: Data) -> tuple[Path | str, Data]:
    """Model and images as given; without a model the bundled one, and its images unless others are named."""
    if model is not None:
        return model, data
    if not data.paths and data.synthetic is None:
        data = replace(data, paths=(data_path(),))
    return model_path(), data


def twins() -> tuple[Path, Path]:
    """The bundled model and its Keras twin."""
    return model_path(), twin_path()
