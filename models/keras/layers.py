"""What the families are made of: steps, each under a name, that compute what PyTorch's modules of that name compute.

A step takes (x, name) and returns the layer's answer; x is (N, height, width, channels) or (N, features). Each layer
has a name of its own, PyTorch's module path, so that weights are copied name by name and nothing hangs on Keras's
counters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras

Shape = tuple[int, int, int]

Step = Callable[[Any, str], Any]
"""(x, name) -> y"""

HE = "he_normal"
EPSILON = 1e-5  # PyTorch's, in BatchNormalization; Keras's own is 1e-3


def network(shape: Shape, name: str, **steps: Step) -> Any:
    """The `keras.Model` of the steps in a row, for images of (channels, height, width)."""
    channels, height, width = shape
    given = keras.Input((height, width, channels), name="input")
    return keras.Model(given, named(**steps)(given, ""), name=name)


def named(**steps: Step) -> Step:
    """The steps in a row, each under its keyword."""

    def run(x: Any, name: str) -> Any:
        for key, step in steps.items():
            x = step(x, f"{name}.{key}" if name else key)
        return x

    return run


def row(*steps: Step) -> Step:
    """The steps in a row, numbered from 0."""
    return named(**{str(number): step for number, step in enumerate(steps)})


def conv(
    outputs: int,
    kernel: int = 3,
    stride: int = 1,
    bias: bool = False,
    padding: int | None = None,
    depthwise: bool = False,
) -> Step:
    """A square convolution that keeps the plane's size where the stride is 1, unless `padding` says otherwise.

    `depthwise`: each channel for itself.
    """
    pad = kernel // 2 if padding is None else padding

    def run(x: Any, name: str) -> Any:
        # Keras's own "same" puts the zeros on other sides where the stride is 2. Where it is 1, tf2onnx would leave a
        # node of its own for the zeros before a depthwise convolution.
        same = depthwise and stride == 1 and pad == kernel // 2
        x = keras.layers.ZeroPadding2D(pad, name=f"{name}.pad")(x) if pad and not same else x
        if depthwise:
            layer = keras.layers.DepthwiseConv2D(
                kernel, stride, "same" if same else "valid", use_bias=bias, depthwise_initializer=HE, name=name
            )
        else:
            layer = keras.layers.Conv2D(outputs, kernel, stride, use_bias=bias, kernel_initializer=HE, name=name)
        return layer(x)

    return run


def norm(epsilon: float = EPSILON) -> Step:
    """BatchNormalization."""
    return lambda x, name: keras.layers.BatchNormalization(epsilon=epsilon, momentum=0.9, name=name)(x)


def relu(limit: float | None = None) -> Step:
    """ReLU; ReLU6 with `limit` = 6."""
    return lambda x, name: keras.layers.ReLU(limit, name=name)(x)


def linear(outputs: int) -> Step:
    """A linear layer with a bias."""
    return lambda x, name: keras.layers.Dense(outputs, kernel_initializer=HE, name=name)(x)


def dropout() -> Step:
    """Half of the features at random, while training."""
    return lambda x, name: keras.layers.Dropout(0.5, name=name)(x)


def mean(keep: bool = False) -> Step:
    """The mean over the plane: (N, channels), or (N, 1, 1, channels) with `keep`."""
    return lambda x, name: keras.layers.GlobalAveragePooling2D(keepdims=keep, name=name)(x)


def mean_pool(size: int) -> Step:
    """Means over squares that touch."""
    return lambda x, name: keras.layers.AveragePooling2D(size, name=name)(x)


def max_pool(size: int, stride: int | None = None, padding: int = 0) -> Step:
    """Maxima over squares, `padding` of them on each side being minus infinity."""

    def run(x: Any, name: str) -> Any:
        x = LowPadding(padding, name=f"{name}.pad")(x) if padding else x
        return keras.layers.MaxPooling2D(size, stride, name=name)(x)

    return run


def flat() -> Step:
    """All features in a row in PyTorch's order, channels slowest, so that the next layer's columns stay in order."""

    def run(x: Any, name: str) -> Any:
        return keras.layers.Flatten(name=name)(keras.layers.Permute((3, 1, 2), name=f"{name}.first")(x))

    return run


def residual(body: Mapping[str, Step], beside: Mapping[str, Step], rectified: bool) -> Step:
    """The steps of `body` in a row, plus what the one step of `beside` (none: the identity) makes of the input."""

    def run(x: Any, name: str) -> Any:
        sum_ = keras.layers.Add(name=f"{name}.sum")([named(**body)(x, name), named(**beside)(x, name)])
        return relu()(sum_, f"{name}.rectified") if rectified else sum_

    return run


def concat(steps: Mapping[str, Step]) -> Step:
    """All steps on the same input, their answers joined along the channels."""

    def run(x: Any, name: str) -> Any:
        return keras.layers.Concatenate(name=f"{name}.joined")([named(**{k: s})(x, name) for k, s in steps.items()])

    return run


def dense(body: Mapping[str, Step]) -> Step:
    """The input, and behind it along the channels what the steps of `body` in a row make of it."""

    def run(x: Any, name: str) -> Any:
        return keras.layers.Concatenate(name=f"{name}.joined")([x, named(**body)(x, name)])

    return run


def pad_shortcut(outputs: int, stride: int) -> Step:
    """Every second pixel, zero channels added on both sides: option A of the ResNet paper, without parameters."""
    return lambda x, name: PadShortcut(outputs, stride, name=name)(x)


@keras.saving.register_keras_serializable("onnxfi")
class PadShortcut(keras.layers.Layer):  # type: ignore[misc]
    """The layer of `pad_shortcut`."""

    def __init__(self, outputs: int, stride: int, **options: Any) -> None:
        super().__init__(**options)
        self.outputs, self.stride = outputs, stride

    def call(self, x: Any) -> Any:
        """float32 (N, H, W, inputs) -> (N, ceil(H / stride), ceil(W / stride), outputs)."""
        added = self.outputs - x.shape[-1]
        front = added // 2
        return keras.ops.pad(x[:, :: self.stride, :: self.stride], [(0, 0)] * 3 + [(front, added - front)])

    def get_config(self) -> dict[str, Any]:
        """What Keras stores of this layer in a file."""
        return {**super().get_config(), "outputs": self.outputs, "stride": self.stride}


@keras.saving.register_keras_serializable("onnxfi")
class LowPadding(keras.layers.Layer):  # type: ignore[misc]
    """Minus infinity around the plane, which no maximum sees."""

    def __init__(self, width: int, **options: Any) -> None:
        super().__init__(**options)
        self.width = width

    def call(self, x: Any) -> Any:
        """float32 (N, H, W, C) -> (N, H + 2 width, W + 2 width, C)."""
        around = (self.width, self.width)
        return keras.ops.pad(x, [(0, 0), around, around, (0, 0)], constant_values=float("-inf"))

    def get_config(self) -> dict[str, Any]:
        """What Keras stores of this layer in a file."""
        return {**super().get_config(), "width": self.width}
