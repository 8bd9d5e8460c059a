"""Residual networks (He et al. 2016, arXiv:1512.03385), with BatchNormalization; the blocks of two 3x3 convolutions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

from models.keras.layers import (
    Shape,
    Step,
    conv,
    flat,
    linear,
    max_pool,
    mean,
    mean_pool,
    network,
    norm,
    pad_shortcut,
    relu,
    residual,
    row,
)
from models.plans import RESNET_BLOCKS, RESNET_SMALL, RESNET_STANDARD, resnet_thirds

Shortcut = Callable[[int, int], Step]
"""(channels out, stride) -> what goes beside the two convolutions, where the shape changes."""

Block = Callable[[int, int], Step]
"""(channels out, stride) -> one residual block."""


def small(shape: Shape, classes: int, depth: int, shortcut: Literal["pad", "conv"] = "pad") -> Any:
    """The ResNet for small images with `depth` = 6k + 2 layers."""
    block = partial(_block, shortcut={"pad": pad_shortcut, "conv": _conv_shortcut}[shortcut])
    stages = _stages(resnet_thirds(depth), RESNET_SMALL, block)
    return network(shape, f"resnet{depth}", **_stem(16), **stages, pool=mean(), linear=linear(classes))


def distiller(shape: Shape, classes: int, depth: int) -> Any:
    """The variant of karanchahal/distiller: 64 channels first, no ReLU in a block but one after each stage.

    Ends in means over 4x4 pixels, not over the whole plane.
    """
    block = partial(_block, shortcut=_conv_shortcut, rectified=False)
    steps: dict[str, Step] = _stem(64)
    for name, stage in _stages(resnet_thirds(depth), RESNET_SMALL, block).items():
        steps |= {name: stage, f"{name}_relu": relu()}
    return network(shape, f"resnet{depth}", **steps, pool=mean_pool(4), flat=flat(), linear=linear(classes))


def standard(
    shape: Shape,
    classes: int,
    depth: Literal[18, 34],
    stem: Literal["small", "imagenet"],
    names: Literal["kuangliu", "torchvision", "weiaicunzai"],
) -> Any:
    """ResNet-18 or -34, with a 3x3 convolution first, or with 7x7 at stride 2 and a pool for large images."""
    blocks = RESNET_BLOCKS[depth]
    if names == "weiaicunzai":
        first: dict[str, Step] = {"conv1": row(*_stem(64).values())}
        stages = _stages(blocks, RESNET_STANDARD, _numbered_block, "conv{}_x", 2)
    else:
        first = _stem(64)
        beside = "downsample" if names == "torchvision" else "shortcut"
        stages = _stages(blocks, RESNET_STANDARD, partial(_block, shortcut=_conv_shortcut, beside=beside))
    if stem == "imagenet":
        first |= {"conv1": conv(64, 7, 2), "maxpool": max_pool(3, 2, 1)}
    head = {"linear" if names == "kuangliu" else "fc": linear(classes)}
    return network(shape, f"resnet{depth}", **first, **stages, pool=mean(), **head)


def _stem(outputs: int) -> dict[str, Step]:
    return {"conv1": conv(outputs), "bn1": norm(), "relu": relu()}


def _stages(
    blocks: Sequence[int], widths: Sequence[int], block: Block, name: str = "layer{}", first: int = 1
) -> dict[str, Step]:
    """{name of a stage: its blocks}; every stage but the first halves the plane."""
    return {
        name.format(first + stage): row(block(outputs, 1 + (stage > 0)), *[block(outputs, 1)] * (count - 1))
        for stage, (count, outputs) in enumerate(zip(blocks, widths, strict=True))
    }


def _conv_shortcut(outputs: int, stride: int) -> Step:
    """Option B of the paper: a 1x1 convolution and BatchNormalization."""
    return row(conv(outputs, 1, stride), norm())


def _block(outputs: int, stride: int, shortcut: Shortcut, beside: str = "shortcut", rectified: bool = True) -> Step:
    """conv1 - bn1 - ReLU - conv2 - bn2, plus the shortcut, then ReLU."""

    def run(x: Any, name: str) -> Any:
        same = x.shape[-1] == outputs and stride == 1
        other = {} if same else {beside: shortcut(outputs, stride)}
        return residual(_body(outputs, stride), other, rectified)(x, name)

    return run


def _numbered_block(outputs: int, stride: int) -> Step:
    """The same with the steps numbered, as weiaicunzai/pytorch-cifar100 does."""

    def run(x: Any, name: str) -> Any:
        same = x.shape[-1] == outputs and stride == 1
        body = {"residual_function": row(*_body(outputs, stride).values())}
        return residual(body, {} if same else {"shortcut": _conv_shortcut(outputs, stride)}, True)(x, name)

    return run


def _body(outputs: int, stride: int) -> dict[str, Step]:
    return {"conv1": conv(outputs, 3, stride), "bn1": norm(), "relu": relu(), "conv2": conv(outputs), "bn2": norm()}
