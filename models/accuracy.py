"""Top-1 of checkpoints on the images at hand, beside what their publishers state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models import checkpoint
from models.normalisation import Normalisation
from models.registry import Architecture
from onnxfi.errors import DataError
from onnxfi.study.dataset import Dataset, InputSpec, Preprocessing, load_dataset

BATCH = 250  # images


@dataclass(frozen=True)
class Measured:
    """`right` of `images` have the label as top-1; `published` is the stated share, if one is for this input."""

    name: str
    normalisation: str
    right: int
    images: int
    published: float | None

    def __str__(self) -> str:
        stated = "" if self.published is None else f"{self.published:.1%}"
        count = f"{self.right:,} of {self.images:,}"
        return f"{self.name:20}  {self.normalisation:13}  {count:16}  {self.right / self.images:7.2%}  {stated:>9}"


HEADER = f"{'network':20}  {'normalisation':13}  {'right':16}  {'top-1':>7}  {'published':>9}"


def measure(entry: Architecture, weights: Path, data: Sequence[Path], images: int | None = None) -> Iterator[Measured]:
    """The network with its own normalisation, and with the one of the published figure where that is another.

    `images` of `data` are taken, drawn in proportion to the classes; None takes all. Raises ModelError, DataError.
    """
    net = entry.build()
    checkpoint.load(net, weights)
    published = entry.published
    ways = [("its own", entry.normalisation)]
    if published is not None and published.normalisation != entry.normalisation:
        ways.append(("as published", published.normalisation))
    for words, by in ways:
        dataset = _dataset(entry, by, data, images)
        stated = published.pytorch if published is not None and by == published.normalisation else None
        yield Measured(entry.name, words, right(dataset, lambda x: _logits(net, x)), len(dataset), stated)


def right(dataset: Dataset, predict: Callable[[NDArray[Any]], NDArray[np.float32]]) -> int:
    """How many images have their label as the largest logit; `predict`: images (N, ...) -> logits (N, classes)."""
    if dataset.labels is None:
        raise DataError(f"{dataset.source} has no labels; accuracy needs them.")
    parts = [predict(dataset.images[at : at + BATCH]).argmax(1) for at in range(0, len(dataset), BATCH)]
    return int((np.concatenate(parts) == dataset.labels).sum())


@torch.no_grad()
def _logits(net: torch.nn.Module, images: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(net(torch.tensor(images)).numpy())


def _dataset(entry: Architecture, by: Normalisation, data: Sequence[Path], images: int | None) -> Dataset:
    """Images float32 (N, C, H, W) as the network takes them, resized where they have another size."""
    spec = InputSpec(entry.shape, "float32", "NCHW")
    steps = Preprocessing(by.scale, by.mean, by.std, resize=entry.shape[1:])
    return load_dataset(data, spec, steps, images=images, classes=entry.classes)
