"""What the tests of the data room share: small models' inputs, small files, and the sentence of a refusal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onnxfi.errors import DataError
from onnxfi.study.dataset import InputSpec, Preprocessing, load_dataset

NCHW = InputSpec((3, 4, 4), "float32")
NHWC = InputSpec((4, 4, 3), "float32")
GREY = InputSpec((1, 4, 4), "float32")
PLAIN = Preprocessing()


def ramp(*shape: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """0, 1, 2, ... modulo 251: no two near pixels alike, so a wrong transposition shows."""
    return (np.arange(np.prod(shape)) % 251).astype(np.uint8).reshape(shape)


def npz(folder: Path, name: str = "data.npz", **arrays: Any) -> Path:
    np.savez(folder / name, **arrays)
    return folder / name


def npy(folder: Path, array: Any, name: str = "data.npy") -> Path:
    np.save(folder / name, array)
    return folder / name


def png(file: Path, pixels: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(file)
    return file


def refusal(*paths: Path, spec: InputSpec = NCHW, pre: Preprocessing = PLAIN, **options: Any) -> str:
    """The one sentence that `load_dataset` refuses with."""
    with pytest.raises(DataError) as caught:
        load_dataset(paths, spec, pre, **options)
    text = str(caught.value)
    assert text.endswith(".")
    assert "\n" not in text
    return text
