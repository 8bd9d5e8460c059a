"""One conversion from the options of the command line: build, export, write, check, tell."""

from __future__ import annotations

import argparse
import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from converters import pytorch as exporter
from converters.check import BATCHES, Report, check
from models import checkpoint
from models.normalisation import Normalisation
from models.registry import architecture
from onnxfi.errors import DataError, ModelError

PLAIN = Normalisation((0.0,), (1.0,))


def pytorch(options: argparse.Namespace) -> int:
    """Exports and checks one PyTorch network; prints the check; returns 0 if it passed, else 1."""
    net, shape, by = _network(options)
    images = random_images(shape) if options.images is None else stored_images(options.images, shape, by or PLAIN)
    report = convert(net, shape, options.output, by, images, options.opset, options.folded)
    print(f"{options.output}: {options.output.stat().st_size:,} bytes\n{report}")
    return 0 if report.passed else 1


def convert(
    net: nn.Module,
    shape: tuple[int, ...],
    output: Path,
    by: Normalisation | None,
    images: NDArray[np.float32],
    opset: int = 20,
    folded: bool = False,
) -> Report:
    """Writes `net` as the ONNX file `output` and checks it on `images`, float32 (17 or more, *shape)."""
    exported = exporter.export(net, shape, opset, folded)
    exporter.describe(exported.model, net, by)
    exporter.save(exported.model, output)
    weights = exporter.stored(net)
    return check(output, images, lambda batch: exporter.predict(net, batch), weights, exported.parameters)


def random_images(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Seeded standard normal images, float32 (17, *shape)."""
    return np.random.default_rng(0).standard_normal((max(BATCHES), *shape), np.float32)


def stored_images(path: Path, shape: tuple[int, ...], by: Normalisation) -> NDArray[np.float32]:
    """The first 17 images of an .npz file with `images` uint8 (N, H, W[, C]), normalised: float32 (17, *shape).

    A shorter file is repeated. Raises DataError if the file cannot be read or its images have another shape.
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            images = by.apply(content["images"][: max(BATCHES)])
    except (OSError, ValueError, KeyError) as problem:
        raise DataError(f"{path} is not an .npz file with an array `images`: {problem}") from problem
    if images.shape[1:] != shape or not len(images):
        raise DataError(f"{path} has {len(images)} images of {images.shape[1:]}, the network takes {shape}")
    return np.resize(images, (max(BATCHES), *shape))


def _network(options: argparse.Namespace) -> tuple[nn.Module, tuple[int, ...], Normalisation | None]:
    """The network with its weights, the shape of one input, and the normalisation if it is known."""
    torch.manual_seed(options.random or 0)
    if options.arch:
        entry = architecture(options.arch)
        if options.checkpoint is None and options.random is None:
            raise ModelError(f"{options.arch} needs weights: give --checkpoint, or --random SEED for untrained ones")
        net, shape, known = entry.build(), options.input_shape or entry.shape, entry.normalisation
    else:
        if options.input_shape is None:
            raise ModelError("--module needs --input-shape, such as 3,32,32")
        net, shape, known = _from_module(options.module), options.input_shape, None
    if options.checkpoint is not None:
        checkpoint.load(net, options.checkpoint)
    return net.eval(), shape, _normalisation(options, known)


def _from_module(text: str) -> nn.Module:
    """Calls the function that "package.module:function" names; ModelError unless it returns an nn.Module."""
    module, _, function = text.partition(":")
    try:
        net = getattr(importlib.import_module(module), function)()
    except (ImportError, AttributeError, ValueError) as problem:
        raise ModelError(f"{text!r} is not a function that can be imported: {problem}") from problem
    if not isinstance(net, nn.Module):
        raise ModelError(f"{text} returns a {type(net).__name__}, not an nn.Module")
    return net


def _normalisation(options: argparse.Namespace, known: Normalisation | None) -> Normalisation | None:
    """What the options say, over what the registry knows; None if neither says anything."""
    given = {key: getattr(options, key) for key in ("mean", "std", "scale") if getattr(options, key) is not None}
    return replace(known or PLAIN, **given) if given else known
