"""MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381, table 2) for small images, in two published forms."""

from __future__ import annotations

from torch import nn

from models.plans import MOBILENET_FIRST, MOBILENET_LAST, MOBILENET_STAGES, mobilenet_blocks
from models.pytorch.layers import GlobalMean, Residual, conv, initialise, named


def cifar10(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """The form of kuangliu/pytorch-cifar: ReLU for ReLU6, and a 1x1 convolution beside where only the width changes."""
    blocks = [_wide_block(*block) for stage in mobilenet_blocks((1, 1, 2, 2, 1, 2, 1)) for block in stage]
    first = {"conv1": conv(shape[0], MOBILENET_FIRST), "bn1": nn.BatchNorm2d(MOBILENET_FIRST), "relu1": nn.ReLU()}
    last = {
        "conv2": conv(MOBILENET_STAGES[-1][1], MOBILENET_LAST, 1),
        "bn2": nn.BatchNorm2d(MOBILENET_LAST),
        "relu2": nn.ReLU(),
    }
    head = {"pool": GlobalMean(), "linear": nn.Linear(MOBILENET_LAST, classes)}
    return initialise(named(**first, layers=nn.Sequential(*blocks), **last, **head))


def cifar100(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """The form of weiaicunzai/pytorch-cifar100, which DeepVigor+ takes: biases, and a 1x1 convolution at both ends.

    The first one pads, so that a plane of 32x32 becomes 34x34.
    """
    pre = [nn.Conv2d(shape[0], MOBILENET_FIRST, 1, padding=1), nn.BatchNorm2d(MOBILENET_FIRST), nn.ReLU6()]
    blocks = [[_block(*block) for block in stage] for stage in mobilenet_blocks((1, 2, 2, 2, 1, 1, 1))]
    stages = {
        f"stage{number}": nn.Sequential(*stage) if len(stage) > 1 else stage[0]
        for number, stage in enumerate(blocks, 1)
    }
    last = nn.Sequential(
        conv(MOBILENET_STAGES[-1][1], MOBILENET_LAST, 1, bias=True), nn.BatchNorm2d(MOBILENET_LAST), nn.ReLU6()
    )
    head = {"pool": nn.AdaptiveAvgPool2d(1), "conv2": conv(MOBILENET_LAST, classes, 1, bias=True), "flat": nn.Flatten()}
    return initialise(named(pre=nn.Sequential(*pre), **stages, conv1=last, **head))


def _wide_block(inputs: int, outputs: int, inside: int, stride: int) -> nn.Module:
    """1x1, depthwise 3x3, 1x1; what stands beside adds at every stride of 1."""
    body = {
        "conv1": conv(inputs, inside, 1), "bn1": nn.BatchNorm2d(inside), "relu1": nn.ReLU(),
        "conv2": conv(inside, inside, 3, stride, inside), "bn2": nn.BatchNorm2d(inside), "relu2": nn.ReLU(),
        "conv3": conv(inside, outputs, 1), "bn3": nn.BatchNorm2d(outputs),
    }  # fmt: skip
    if stride > 1:
        return named(**body)
    beside = nn.Sequential(conv(inputs, outputs, 1), nn.BatchNorm2d(outputs))
    return Residual(body, {} if inputs == outputs else {"shortcut": beside}, relu=False)


def _block(inputs: int, outputs: int, inside: int, stride: int) -> nn.Module:
    """1x1, depthwise 3x3, 1x1, each with a bias; the input is added where nothing changes shape."""
    body = nn.Sequential(
        conv(inputs, inside, 1, bias=True), nn.BatchNorm2d(inside), nn.ReLU6(),
        conv(inside, inside, 3, stride, inside, bias=True), nn.BatchNorm2d(inside), nn.ReLU6(),
        conv(inside, outputs, 1, bias=True), nn.BatchNorm2d(outputs),
    )  # fmt: skip
    same = stride == 1 and inputs == outputs
    return Residual({"residual": body}, {}, relu=False) if same else named(residual=body)
