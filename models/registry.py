"""Every architecture by name, with the data set it is for and how that data set is normalised.

Only names and numbers here: no framework is imported until an architecture is built.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from onnxfi.errors import DataError, ModelError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Normalisation:
    """How stored pixels become the network's input: (uint8 * scale - mean) / std, one mean and std a channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float = 1 / 255

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not all(self.std):
            raise DataError(f"mean {self.mean} and std {self.std} need one number a channel each, no std being zero")

    def apply(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (N, H, W) or (N, H, W, C) -> float32 (N, C, H, W), computed in float32 in the order written above.

        Raises DataError if the images have neither form or another number of channels.
        """
        if images.ndim not in (3, 4) or images.dtype != np.uint8:
            raise DataError(f"images are uint8 (N, H, W) or (N, H, W, C), not {images.dtype} {images.shape}")
        pixels = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
        if len(self.mean) not in (1, pixels.shape[1]):
            raise DataError(f"the normalisation is for {len(self.mean)} channels, the images have {pixels.shape[1]}")
        mean, std = (np.asarray(value, np.float32).reshape(1, -1, 1, 1) for value in (self.mean, self.std))
        return (pixels.astype(np.float32) * np.float32(self.scale) - mean) / std


@dataclass(frozen=True)
class Architecture:
    """One network that `models` can build.

    `builder` is "module:function" or "module:function:number", the module being a file of this package;
    `shape` is the input (channels, height, width) without the batch.
    """

    name: str
    builder: str
    shape: tuple[int, int, int]
    classes: int
    dataset: str
    normalisation: Normalisation
    about: str

    def build(self) -> nn.Module:
        """A freshly initialised network in evaluation mode. Raises ImportError without the framework."""
        file, function, *number = self.builder.split(":")
        builder = getattr(importlib.import_module(f"models.{file}"), function)
        net: nn.Module = builder(int(number[0]))() if number else builder()
        return net.eval()


CIFAR10 = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""What the published akamaster checkpoints were trained with."""

FASHION_MNIST = Normalisation((0.2860,), (0.3530,))
"""Mean and standard deviation of the 60,000 training images."""


def _cifar_resnet(depth: int) -> Architecture:
    return Architecture(
        f"resnet{depth}", f"resnet:cifar:{depth}", (3, 32, 32), 10, "CIFAR-10", CIFAR10,
        "CIFAR ResNet, shortcuts without parameters",
    )  # fmt: skip


ARCHITECTURES: dict[str, Architecture] = {
    entry.name: entry
    for entry in (
        *map(_cifar_resnet, (20, 32, 44, 56, 110)),
        Architecture(
            "fashion-resnet8", "resnet:fashion8", (1, 28, 28), 10, "Fashion-MNIST", FASHION_MNIST,
            "the bundled demonstration model",
        ),
    )
}  # fmt: skip


def architecture(name: str) -> Architecture:
    """The entry called `name`; ModelError, naming those that exist, if there is none."""
    try:
        return ARCHITECTURES[name]
    except KeyError:
        raise ModelError(f"no architecture is called {name!r}; there are {', '.join(ARCHITECTURES)}") from None
