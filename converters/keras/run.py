"""One conversion from the options of the command line: build, export, write, check, tell."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.check import Report, check
from converters.inputs import PLAIN, normalisation, random_images, stored_images
from converters.keras import export as exporter
from converters.keras import source
from converters.keras.framework import keras, quiet
from models.normalisation import Normalisation
from models.registry import architecture
from onnxfi.errors import ModelError


def run(options: argparse.Namespace) -> int:
    """Exports and checks one Keras network; prints the check; returns 0 if it passed, else 1."""
    model, shape, by = _network(options)
    if options.images is None:
        images = random_images(shape)
    else:
        height, width, channels = shape
        images = stored_images(options.images, (channels, height, width), by or PLAIN).transpose(0, 2, 3, 1)
    report = convert(model, shape, options.output, by, images, options.opset, options.folded)
    print(f"{options.output}: {options.output.stat().st_size:,} bytes\n{report}")
    return 0 if report.passed else 1


def convert(
    model: Any,
    shape: tuple[int, ...],
    output: Path,
    by: Normalisation | None,
    images: NDArray[np.float32],
    opset: int = exporter.OPSETS[-1],
    folded: bool = False,
) -> Report:
    """Writes the `keras.Model` as the ONNX file `output`, checked on `images`, float32 (17 or more, *shape), NHWC."""
    exported = exporter.export(model, shape, opset, folded)
    exporter.describe(exported, by)
    exporter.save(exported.model, output)
    return check(output, images, lambda batch: exporter.predict(model, batch), exported.weights, exported.weights)


def _network(options: argparse.Namespace) -> tuple[Any, tuple[int, ...], Normalisation | None]:
    """The network with its weights, the shape of one image (height, width, channels), its normalisation if known."""
    keras.utils.set_random_seed(options.random or 0)
    wanted, known = options.source, None
    if options.arch:
        model, known = _architecture(options)
    elif wanted.startswith(source.APPLICATIONS):
        _needs_weights(wanted, options)
        model, known = source.application(wanted, options.input_shape)
    elif ":" in wanted and not Path(wanted).exists():
        model = source.from_function(wanted)
    else:
        model = source.from_file(Path(wanted))
    shape = source.input_shape(model, options.input_shape)
    if options.checkpoint is not None and not options.arch:
        source.load_weights(model, options.checkpoint)
    return model, shape, normalisation(options, known)


def _architecture(options: argparse.Namespace) -> tuple[Any, Normalisation]:
    entry = architecture(options.arch)
    _needs_weights(options.arch, options)
    with quiet():
        model = entry.build("keras")
    if options.checkpoint is None:
        return model, entry.normalisation
    if options.checkpoint.suffix in source.SUFFIXES:
        source.load_weights(model, options.checkpoint)
    else:
        from converters.keras.twin import copy  # the only part that needs PyTorch
        from converters.pytorch import stored
        from models import checkpoint

        net = entry.build("pytorch")
        checkpoint.load(net, options.checkpoint)
        copy(stored(net), model)
    return model, entry.normalisation


def _needs_weights(name: str, options: argparse.Namespace) -> None:
    if options.checkpoint is None and options.random is None:
        raise ModelError(f"{name} needs weights: give --checkpoint, or --random SEED for untrained ones")
