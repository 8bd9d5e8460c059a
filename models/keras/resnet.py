"""Residual networks for small images (He et al. 2016, arXiv:1512.03385, section 4.2), with BatchNormalization."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import keras

from models.keras.layers import conv, images, linear, mean, norm, relu

STAGES = (16, 32, 64)

Shortcut = Callable[[Any, str, int, int], Any]
"""(x, name, channels out, stride) -> what goes beside the two convolutions, where the shape changes."""


@keras.saving.register_keras_serializable("onnxfi")
class PadShortcut(keras.layers.Layer):  # type: ignore[misc]
    """Option A of the paper, without parameters: every second pixel, zero channels added on both sides."""

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


def pad_shortcut(x: Any, name: str, outputs: int, stride: int) -> Any:
    """Option A of the paper."""
    return PadShortcut(outputs, stride, name=name)(x)


def conv_shortcut(x: Any, name: str, outputs: int, stride: int) -> Any:
    """Option B of the paper: a 1x1 convolution and BatchNormalization."""
    return norm(conv(x, f"{name}.0", outputs, 1, stride), f"{name}.1")


SHORTCUTS: dict[str, Shortcut] = {"pad": pad_shortcut, "conv": conv_shortcut}


def small(shape: tuple[int, int, int], classes: int, depth: int, shortcut: Literal["pad", "conv"] = "pad") -> Any:
    """The ResNet for small images with `depth` = 6k + 2 layers."""
    blocks, rest = divmod(depth - 2, 6)
    if rest or blocks < 1:
        raise ValueError(f"a ResNet for small images has 6k + 2 layers, not {depth}")
    x = given = images(shape)
    x = relu(norm(conv(x, "conv1", STAGES[0], 3, padding=1), "bn1"), "relu")
    for stage, channels in enumerate(STAGES, start=1):
        for number in range(blocks):
            stride = 2 if stage > 1 and number == 0 else 1
            x = _block(x, f"layer{stage}.{number}", channels, stride, SHORTCUTS[shortcut])
    return keras.Model(given, linear(mean(x), "linear", classes), name=f"resnet{depth}")


def _block(x: Any, name: str, channels: int, stride: int, shortcut: Shortcut) -> Any:
    """conv1 - bn1 - ReLU - conv2 - bn2, plus the shortcut, then ReLU."""
    same = x.shape[-1] == channels and stride == 1
    y = relu(norm(conv(x, f"{name}.conv1", channels, 3, stride, padding=1), f"{name}.bn1"), f"{name}.relu1")
    y = norm(conv(y, f"{name}.conv2", channels, 3, padding=1), f"{name}.bn2")
    beside = x if same else shortcut(x, f"{name}.shortcut", channels, stride)
    return relu(keras.layers.Add(name=f"{name}.add")([y, beside]), f"{name}.relu2")
