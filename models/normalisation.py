"""How each data set's stored pixels become a network's input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxfi.errors import DataError


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


IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Also what the published CIFAR-10 ResNet-20 to -110 were trained with."""

FASHION_MNIST = Normalisation((0.2860,), (0.3530,))
"""Mean and standard deviation of the 60,000 training images."""
