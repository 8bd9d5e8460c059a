"""DenseNet-BC (Huang et al. 2017, arXiv:1608.06993) for small images: a 3x3 convolution first.

Two published forms: torchvision's names, with a pool in front, and those of weiaicunzai/pytorch-cifar100, without that
pool and without a ReLU before the convolution of a transition.
"""

from __future__ import annotations

from typing import Any, Literal

from models.keras.layers import (
    Shape,
    Step,
    conv,
    dense,
    linear,
    max_pool,
    mean,
    mean_pool,
    named,
    network,
    norm,
    relu,
    row,
)
from models.plans import DENSENET_BLOCKS, DENSENET_GROWTH, DENSENET_INSIDE


def densenet(shape: Shape, classes: int, depth: Literal[121, 161], names: Literal["torchvision", "weiaicunzai"]) -> Any:
    """DenseNet-121 or -161; a transition halves both the channels and the plane."""
    form = _torchvision if names == "torchvision" else _weiaicunzai
    return network(shape, f"densenet{depth}", **form(classes, DENSENET_GROWTH[depth], DENSENET_BLOCKS[depth]))


def _torchvision(classes: int, growth: int, blocks: tuple[int, ...]) -> dict[str, Step]:
    features = {"conv0": conv(2 * growth), "norm0": norm(), "relu0": relu(), "pool0": max_pool(3, 2, 1)}
    for number, count in enumerate(blocks, 1):
        layers = {f"denselayer{i}": dense(_layer(growth)) for i in range(1, count + 1)}
        features[f"denseblock{number}"] = named(**layers)
        if number < len(blocks):
            features[f"transition{number}"] = named(norm=norm(), relu=relu(), conv=_half(), pool=mean_pool(2))
    features |= {"norm5": norm(), "relu5": relu()}
    return {"features": named(**features), "pool": mean(), "classifier": linear(classes)}


def _weiaicunzai(classes: int, growth: int, blocks: tuple[int, ...]) -> dict[str, Step]:
    features: dict[str, Step] = {}
    for number, count in enumerate(blocks):
        body = {"bottle_neck": row(*_layer(growth).values())}
        layers = named(**{f"bottle_neck_layer_{i}": dense(body) for i in range(count)})
        if number < len(blocks) - 1:
            features[f"dense_block_layer_{number}"] = layers
            features[f"transition_layer_{number}"] = named(down_sample=row(norm(), _half(), mean_pool(2)))
        else:
            features[f"dense_block{number}"] = layers
    features |= {"bn": norm(), "relu": relu()}
    return {"conv1": conv(2 * growth), "features": named(**features), "pool": mean(), "linear": linear(classes)}


def _half() -> Step:
    """A 1x1 convolution to half as many channels."""
    return lambda x, name: conv(x.shape[-1] // 2, 1)(x, name)


def _layer(growth: int) -> dict[str, Step]:
    """BatchNormalization, ReLU and convolution, 1x1 and then 3x3, to `growth` channels."""
    return {
        "norm1": norm(), "relu1": relu(), "conv1": conv(DENSENET_INSIDE * growth, 1),
        "norm2": norm(), "relu2": relu(), "conv2": conv(growth),
    }  # fmt: skip
