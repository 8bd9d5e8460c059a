"""Layers that compute what PyTorch's of the same arguments compute, on images (N, height, width, channels).

Every layer has a name of its own, so that nothing hangs on Keras's counters and the same network comes out each time.
"""

from __future__ import annotations

from typing import Any

import keras

EPSILON = 1e-5  # PyTorch's, in BatchNormalization; Keras's own is 1e-3


def images(shape: tuple[int, int, int]) -> Any:
    """The network's input for images of (channels, height, width)."""
    channels, height, width = shape
    return keras.Input((height, width, channels), name="input")


def conv(x: Any, name: str, channels: int, kernel: int, stride: int = 1, padding: int = 0, bias: bool = False) -> Any:
    """`Conv2d(..., channels, kernel, stride, padding, bias=bias)`, He-initialised."""
    layer = keras.layers.Conv2D(
        channels, kernel, stride, use_bias=bias, kernel_initializer="he_normal", name=name
    )  # fmt: skip
    return layer(padded(x, name, padding))


def depthwise(x: Any, name: str, kernel: int, stride: int = 1, padding: int = 0) -> Any:
    """`Conv2d(c, c, kernel, stride, padding, groups=c, bias=False)`."""
    layer = keras.layers.DepthwiseConv2D(
        kernel, stride, use_bias=False, depthwise_initializer="he_normal", name=name
    )  # fmt: skip
    return layer(padded(x, name, padding))


def padded(x: Any, name: str, padding: int) -> Any:
    """`padding` zeros on each side: Keras's own "same" puts them on other sides where the stride is 2."""
    return keras.layers.ZeroPadding2D(padding, name=f"{name}.pad")(x) if padding else x


def norm(x: Any, name: str) -> Any:
    """`BatchNorm2d`."""
    return keras.layers.BatchNormalization(epsilon=EPSILON, momentum=0.9, name=name)(x)


def relu(x: Any, name: str) -> Any:
    """`relu`."""
    return keras.layers.ReLU(name=name)(x)


def mean(x: Any) -> Any:
    """The mean over the plane: (N, channels)."""
    return keras.layers.GlobalAveragePooling2D(name="mean")(x)


def flat(x: Any) -> Any:
    """`flatten(1)` in PyTorch's order, channels slowest, so that the linear layer's columns stay where they are."""
    return keras.layers.Flatten(name="flat")(keras.layers.Permute((3, 1, 2), name="channels_first")(x))


def linear(x: Any, name: str, outputs: int) -> Any:
    """`Linear(..., outputs)`, He-initialised."""
    return keras.layers.Dense(outputs, kernel_initializer="he_normal", name=name)(x)
