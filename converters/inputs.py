"""What both converters read from the command line: images to check on, a normalisation, a function by its name."""

from __future__ import annotations

import argparse
import importlib
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from converters.check import BATCHES
from models.normalisation import Normalisation
from onnxfi.errors import DataError, ModelError

Network = TypeVar("Network")

PLAIN = Normalisation((0.0,), (1.0,))


def random_images(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Seeded standard normal images, float32 (17, *shape)."""
    return np.random.default_rng(0).standard_normal((max(BATCHES), *shape), np.float32)


def stored_images(path: Path, shape: tuple[int, ...], by: Normalisation) -> NDArray[np.float32]:
    """The first 17 images of an .npz file with `images` uint8 (N, H, W[, C]), normalised: float32 (17, C, H, W).

    A shorter file is repeated. Raises DataError if the file cannot be read or its images are not of `shape` (C, H, W).
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            images = by.apply(content["images"][: max(BATCHES)])
    except (OSError, ValueError, KeyError) as problem:
        raise DataError(f"{path} is not an .npz file with an array `images`: {problem}") from problem
    if images.shape[1:] != shape or not len(images):
        raise DataError(f"{path} has {len(images)} images of {images.shape[1:]}, the network takes {shape}")
    return np.resize(images, (max(BATCHES), *shape))


def called(text: str, kind: type[Network], words: str) -> Network:
    """Calls the function that "package.module:function" names; ModelError unless it returns a `kind`, in `words`."""
    module, _, function = text.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)()
    except (ImportError, AttributeError, ValueError) as problem:
        raise ModelError(f"{text!r} is not a function that can be imported: {problem}") from problem
    if not isinstance(found, kind):
        raise ModelError(f"{text} returns a {type(found).__name__}, not {words}")
    return found


def normalisation(options: argparse.Namespace, known: Normalisation | None) -> Normalisation | None:
    """What the options say, over what the registry knows; None if neither says anything."""
    given = {key: getattr(options, key) for key in ("mean", "std", "scale") if getattr(options, key) is not None}
    return replace(known or PLAIN, **given) if given else known
