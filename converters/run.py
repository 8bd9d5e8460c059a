"""One conversion from the options of the command line: build, export, write, check, tell."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from converters import pytorch as exporter
from converters.check import Report, check
from converters.inputs import PLAIN, called, normalisation, random_images, stored_images
from models import checkpoint
from models.normalisation import Normalisation
from models.registry import architecture
from onnxfi.errors import ModelError


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
        net, shape, known = called(options.module, nn.Module, "an nn.Module"), options.input_shape, None
    if options.checkpoint is not None:
        checkpoint.load(net, options.checkpoint)
    return net.eval(), shape, normalisation(options, known)
