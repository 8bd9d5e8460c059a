"""DenseNet-BC (Huang et al. 2017, arXiv:1608.06993) for small images: a 3x3 convolution first.

Two published forms: torchvision's names, with a pool in front, and those of weiaicunzai/pytorch-cifar100, without that
pool and without a ReLU before the convolution of a transition.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

import torch
from torch import Tensor, nn

from models.plans import DENSENET_BLOCKS, DENSENET_GROWTH, DENSENET_INSIDE
from models.pytorch.layers import GlobalMean, conv, initialise, named


class Dense(nn.Sequential):
    """The modules in a row, their result joined to the input along the channels."""

    def forward(self, x: Tensor) -> Tensor:
        """float32 (N, C, H, W) -> (N, C + growth, H, W)."""
        return torch.cat([x, super().forward(x)], 1)  # type: ignore[no-untyped-call]


def densenet(
    shape: tuple[int, int, int],
    classes: int,
    depth: Literal[121, 161],
    names: Literal["torchvision", "weiaicunzai"],
) -> nn.Module:
    """DenseNet-121 or -161; a transition halves both the channels and the plane."""
    form = _torchvision if names == "torchvision" else _weiaicunzai
    return initialise(form(shape[0], classes, DENSENET_GROWTH[depth], DENSENET_BLOCKS[depth]))


def _torchvision(channels: int, classes: int, growth: int, blocks: tuple[int, ...]) -> nn.Module:
    width = 2 * growth
    features: dict[str, nn.Module] = {
        "conv0": conv(channels, width), "norm0": nn.BatchNorm2d(width), "relu0": nn.ReLU(),
        "pool0": nn.MaxPool2d(3, 2, 1),
    }  # fmt: skip
    for number, count in enumerate(blocks, 1):
        widths = range(width, width + count * growth, growth)
        layers = {f"denselayer{i}": Dense(OrderedDict(_layer(inputs, growth))) for i, inputs in enumerate(widths, 1)}
        features[f"denseblock{number}"] = named(**layers)
        width += count * growth
        if number < len(blocks):
            features[f"transition{number}"] = named(
                norm=nn.BatchNorm2d(width), relu=nn.ReLU(), conv=conv(width, width // 2, 1), pool=nn.AvgPool2d(2)
            )
            width //= 2
    features |= {"norm5": nn.BatchNorm2d(width), "relu5": nn.ReLU()}
    return named(features=named(**features), pool=GlobalMean(), classifier=nn.Linear(width, classes))


def _weiaicunzai(channels: int, classes: int, growth: int, blocks: tuple[int, ...]) -> nn.Module:
    width = 2 * growth
    first = conv(channels, width)
    features: dict[str, nn.Module] = {}
    for number, count in enumerate(blocks):
        widths = range(width, width + count * growth, growth)
        bodies = (nn.Sequential(*_layer(inputs, growth).values()) for inputs in widths)
        layers = {f"bottle_neck_layer_{i}": Dense(OrderedDict(bottle_neck=body)) for i, body in enumerate(bodies)}
        width += count * growth
        if number < len(blocks) - 1:
            features[f"dense_block_layer_{number}"] = named(**layers)
            features[f"transition_layer_{number}"] = named(
                down_sample=nn.Sequential(nn.BatchNorm2d(width), conv(width, width // 2, 1), nn.AvgPool2d(2))
            )
            width //= 2
        else:
            features[f"dense_block{number}"] = named(**layers)
    features |= {"bn": nn.BatchNorm2d(width), "relu": nn.ReLU()}
    return named(conv1=first, features=named(**features), pool=GlobalMean(), linear=nn.Linear(width, classes))


def _layer(inputs: int, growth: int) -> dict[str, nn.Module]:
    """BatchNormalization, ReLU and convolution, 1x1 and then 3x3: float32 (N, inputs, H, W) -> (N, growth, H, W)."""
    inside = DENSENET_INSIDE * growth
    return {
        "norm1": nn.BatchNorm2d(inputs), "relu1": nn.ReLU(), "conv1": conv(inputs, inside, 1),
        "norm2": nn.BatchNorm2d(inside), "relu2": nn.ReLU(), "conv2": conv(inside, growth),
    }  # fmt: skip
