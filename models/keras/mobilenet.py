"""MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381, table 2) for small images, in two published forms."""

from __future__ import annotations

from typing import Any

from models.keras.layers import Shape, Step, conv, flat, linear, mean, named, network, norm, relu, residual, row
from models.plans import MOBILENET_FIRST, MOBILENET_LAST, mobilenet_blocks


def cifar10(shape: Shape, classes: int) -> Any:
    """The form of kuangliu/pytorch-cifar: ReLU for ReLU6, and a 1x1 convolution beside where only the width changes."""
    blocks = [_wide_block(*block) for stage in mobilenet_blocks((1, 1, 2, 2, 1, 2, 1)) for block in stage]
    first = {"conv1": conv(MOBILENET_FIRST), "bn1": norm(), "relu1": relu()}
    last = {"conv2": conv(MOBILENET_LAST, 1), "bn2": norm(), "relu2": relu()}
    return network(shape, "mobilenetv2", **first, layers=row(*blocks), **last, pool=mean(), linear=linear(classes))


def cifar100(shape: Shape, classes: int) -> Any:
    """The form of weiaicunzai/pytorch-cifar100, which DeepVigor+ takes: biases, and a 1x1 convolution at both ends.

    The first one pads, so that a plane of 32x32 becomes 34x34.
    """
    pre = row(conv(MOBILENET_FIRST, 1, bias=True, padding=1), norm(), relu(6))
    blocks = [[_block(*block) for block in stage] for stage in mobilenet_blocks((1, 2, 2, 2, 1, 1, 1))]
    stages = {f"stage{number}": row(*stage) if len(stage) > 1 else stage[0] for number, stage in enumerate(blocks, 1)}
    last = row(conv(MOBILENET_LAST, 1, bias=True), norm(), relu(6))
    head = {"pool": mean(keep=True), "conv2": conv(classes, 1, bias=True), "flat": flat()}
    return network(shape, "mobilenetv2", pre=pre, **stages, conv1=last, **head)


def _wide_block(inputs: int, outputs: int, inside: int, stride: int) -> Step:
    """1x1, depthwise 3x3, 1x1; what stands beside adds at every stride of 1."""
    body = {
        "conv1": conv(inside, 1), "bn1": norm(), "relu1": relu(),
        "conv2": conv(inside, 3, stride, depthwise=True), "bn2": norm(), "relu2": relu(),
        "conv3": conv(outputs, 1), "bn3": norm(),
    }  # fmt: skip
    if stride > 1:
        return named(**body)
    return residual(body, {} if inputs == outputs else {"shortcut": row(conv(outputs, 1), norm())}, rectified=False)


def _block(inputs: int, outputs: int, inside: int, stride: int) -> Step:
    """1x1, depthwise 3x3, 1x1, each with a bias; the input is added where nothing changes shape."""
    body = row(
        conv(inside, 1, bias=True), norm(), relu(6),
        conv(inside, 3, stride, bias=True, depthwise=True), norm(), relu(6),
        conv(outputs, 1, bias=True), norm(),
    )  # fmt: skip
    same = stride == 1 and inputs == outputs
    return residual({"residual": body}, {}, rectified=False) if same else named(residual=body)
