"""Residual networks (He et al. 2016, arXiv:1512.03385), with BatchNormalization; the blocks of two 3x3 convolutions.

`small` is section 4.2 of the paper, `standard` its table 1, each under the names of published checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from models.plans import RESNET_BLOCKS, RESNET_SMALL, RESNET_STANDARD, resnet_thirds
from models.pytorch.layers import GlobalMean, Residual, conv, initialise, named

Shape = tuple[int, int, int]
Names = Literal["kuangliu", "torchvision", "weiaicunzai"]

Shortcut = Callable[[int, int, int], nn.Module]
"""(channels in, channels out, stride) -> the module beside the two convolutions, where the shape changes."""

Block = Callable[[int, int, int], nn.Module]
"""(channels in, channels out, stride) -> one residual block."""


class PadShortcut(nn.Module):
    """Option A of the paper, without parameters: every second pixel, zero channels added on both sides."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.front = (outputs - inputs) // 2
        self.behind = outputs - inputs - self.front

    def forward(self, x: Tensor) -> Tensor:
        """float32 (N, inputs, H, W) -> (N, outputs, ceil(H / stride), ceil(W / stride))."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.front, self.behind))


def conv_shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    """Option B of the paper: a 1x1 convolution and BatchNormalization."""
    return nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


SHORTCUTS: dict[str, Shortcut] = {"pad": PadShortcut, "conv": conv_shortcut}


def small(shape: Shape, classes: int, depth: int, shortcut: Literal["pad", "conv"] = "pad") -> nn.Module:
    """The ResNet for small images with `depth` = 6k + 2 layers, named as akamaster/pytorch_resnet_cifar10 does."""
    block = partial(_block, shortcut=SHORTCUTS[shortcut])
    stages = _stages(resnet_thirds(depth), RESNET_SMALL, RESNET_SMALL[0], block)
    return initialise(
        named(**_stem(shape[0], RESNET_SMALL[0]), **stages, pool=GlobalMean(), linear=nn.Linear(64, classes))
    )


def distiller(shape: Shape, classes: int, depth: int) -> nn.Module:
    """The variant of karanchahal/distiller: 64 channels first, no ReLU in a block but one after each stage.

    Ends in means over 4x4 pixels, not over the whole plane.
    """
    block = partial(_block, shortcut=conv_shortcut, relu=False)
    stages = _stages(resnet_thirds(depth), RESNET_SMALL, 64, block)
    relued = {key: nn.Sequential(*stage, nn.ReLU()) for key, stage in stages.items()}
    features = RESNET_SMALL[-1] * (shape[1] // 16) * (shape[2] // 16)
    head = {"pool": nn.AvgPool2d(4), "flat": nn.Flatten(), "linear": nn.Linear(features, classes)}
    return initialise(named(**_stem(shape[0], 64), **relued, **head))


def standard(
    shape: Shape, classes: int, depth: Literal[18, 34], stem: Literal["small", "imagenet"], names: Names
) -> nn.Module:
    """ResNet-18 or -34, with a 3x3 convolution first, or with 7x7 at stride 2 and a pool for large images."""
    if names == "weiaicunzai":
        first: dict[str, nn.Module] = {"conv1": nn.Sequential(*_stem(shape[0], 64).values())}
        stages = _stages(RESNET_BLOCKS[depth], RESNET_STANDARD, 64, _sequential_block, "conv{}_x", 2)
    else:
        first = _stem(shape[0], 64)
        beside = "downsample" if names == "torchvision" else "shortcut"
        stages = _stages(
            RESNET_BLOCKS[depth], RESNET_STANDARD, 64, partial(_block, shortcut=conv_shortcut, beside=beside)
        )
    if stem == "imagenet":
        first |= {"conv1": conv(shape[0], 64, 7, 2), "maxpool": nn.MaxPool2d(3, 2, 1)}
    head = {"linear" if names == "kuangliu" else "fc": nn.Linear(RESNET_STANDARD[-1], classes)}
    return initialise(named(**first, **stages, pool=GlobalMean(), **head))


def _stem(channels: int, outputs: int) -> dict[str, nn.Module]:
    return {"conv1": conv(channels, outputs), "bn1": nn.BatchNorm2d(outputs), "relu": nn.ReLU()}


def _stages(
    blocks: Sequence[int], widths: Sequence[int], inputs: int, block: Block, name: str = "layer{}", first: int = 1
) -> dict[str, nn.Sequential]:
    """{name of a stage: its blocks}; every stage but the first halves the plane."""
    stages = {}
    for stage, (count, outputs) in enumerate(zip(blocks, widths, strict=True)):
        rest = [block(outputs, outputs, 1) for _ in range(count - 1)]
        stages[name.format(first + stage)] = nn.Sequential(block(inputs, outputs, 1 + (stage > 0)), *rest)
        inputs = outputs
    return stages


def _block(
    inputs: int, outputs: int, stride: int, shortcut: Shortcut, beside: str = "shortcut", relu: bool = True
) -> nn.Module:
    """conv1 - bn1 - ReLU - conv2 - bn2, plus the shortcut, then ReLU."""
    other = {} if inputs == outputs and stride == 1 else {beside: shortcut(inputs, outputs, stride)}
    return Residual(_body(inputs, outputs, stride), other, relu)


def _sequential_block(inputs: int, outputs: int, stride: int) -> nn.Module:
    """The same with the modules numbered, as weiaicunzai/pytorch-cifar100 does."""
    other = {} if inputs == outputs and stride == 1 else {"shortcut": conv_shortcut(inputs, outputs, stride)}
    return Residual({"residual_function": nn.Sequential(*_body(inputs, outputs, stride).values())}, other, relu=True)


def _body(inputs: int, outputs: int, stride: int) -> dict[str, nn.Module]:
    return {
        "conv1": conv(inputs, outputs, 3, stride),
        "bn1": nn.BatchNorm2d(outputs),
        "relu": nn.ReLU(),
        "conv2": conv(outputs, outputs),
        "bn2": nn.BatchNorm2d(outputs),
    }
