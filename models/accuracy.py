"""Top-1 of checkpoints on the images at hand, beside what their publishers state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from converters import pytorch
from models import checkpoint
from models.normalisation import Normalisation
from models.registry import Architecture, Framework
from onnxfi.errors import DataError
from onnxfi.study.dataset import Dataset, InputSpec, Preprocessing, load_dataset

BATCH = 250  # images

Predict = Callable[[NDArray[Any]], NDArray[np.float32]]


@dataclass(frozen=True)
class Measured:
    """`right` of `images` have the label as top-1; `published` is the stated share, if one is for this input."""

    name: str
    framework: Framework
    input: str
    right: int
    images: int
    published: float | None

    def __str__(self) -> str:
        stated = "" if self.published is None else f"{self.published:.1%}"
        count = f"{self.right:,} of {self.images:,}"
        share = f"{self.right / self.images:.2%}"
        return f"{self.name:20}  {self.framework:7}  {self.input:12}  {count:15}  {share:>7}  {stated:>9}"


HEADER = f"{'network':20}  {'in':7}  {'normalised':12}  {'right':15}  {'top-1':>7}  {'published':>9}"


def measure(
    entry: Architecture,
    weights: Path,
    data: Sequence[Path],
    images: int | None = None,
    frameworks: Sequence[Framework] = ("pytorch",),
) -> Iterator[Measured]:
    """The network with its own normalisation, and with the one of the published figure where that is another.

    In Keras, PyTorch's weights are copied into the twin. `images` of `data` are taken, drawn in proportion to the
    classes; None takes all. Raises ModelError, DataError; ImportError without a framework.
    """
    net = entry.build()
    checkpoint.load(net, weights)
    published = entry.published
    ways = [("its own", entry.normalisation)]
    if published is not None and published.normalisation != entry.normalisation:
        ways.append(("as published", published.normalisation))
    for framework in frameworks:
        predict = _pytorch(net) if framework == "pytorch" else _keras(entry, net)
        for words, by in ways:
            dataset = _dataset(entry, by, data, images, framework)
            stated = None
            if published is not None and by == published.normalisation:
                stated = published.pytorch if framework == "pytorch" else published.keras
            yield Measured(entry.name, framework, words, right(dataset, predict), len(dataset), stated)


def right(dataset: Dataset, predict: Predict) -> int:
    """How many images have their label as the largest logit; `predict`: images (N, ...) -> logits (N, classes)."""
    if dataset.labels is None:
        raise DataError(f"{dataset.source} has no labels; accuracy needs them.")
    parts = [predict(dataset.images[at : at + BATCH]).argmax(1) for at in range(0, len(dataset), BATCH)]
    return int((np.concatenate(parts) == dataset.labels).sum())


def _pytorch(net: torch.nn.Module) -> Predict:
    @torch.no_grad()
    def predict(images: NDArray[Any]) -> NDArray[np.float32]:
        return np.asarray(net(torch.tensor(images)).numpy())

    return predict


def _keras(entry: Architecture, net: torch.nn.Module) -> Predict:
    from converters.keras import export, twin

    model = entry.build("keras")
    twin.copy(pytorch.stored(net), model)
    return lambda images: export.predict(model, images)


def _dataset(
    entry: Architecture, by: Normalisation, data: Sequence[Path], images: int | None, framework: Framework
) -> Dataset:
    """Images float32, (N, C, H, W) or for Keras (N, H, W, C), resized where they have another size."""
    channels, *plane = entry.shape
    if framework == "pytorch":
        spec = InputSpec(entry.shape, "float32", "NCHW")
    else:
        spec = InputSpec((*plane, channels), "float32", "NHWC")
    steps = Preprocessing(by.scale, by.mean, by.std, resize=entry.shape[1:])
    return load_dataset(data, spec, steps, images=images, classes=entry.classes)
