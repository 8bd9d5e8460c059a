"""The numbers of each family, which both frameworks build from: channels, blocks, strides, as the papers have them."""

from __future__ import annotations

from collections.abc import Sequence

# ResNet (arXiv:1512.03385): section 4.2, and the two smaller networks of table 1.
RESNET_SMALL = (16, 32, 64)
RESNET_STANDARD = (64, 128, 256, 512)
RESNET_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}

# VGG (arXiv:1409.1556, table 1): columns A, B, D, E.
VGG_WIDTHS = (64, 128, 256, 512, 512)
VGG_CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}

# DenseNet-BC (arXiv:1608.06993, table 1).
DENSENET_BLOCKS = {121: (6, 12, 24, 16), 161: (6, 12, 36, 24)}
DENSENET_GROWTH = {121: 32, 161: 48}
DENSENET_INSIDE = 4  # times the growth: channels between the two convolutions of a layer

# MobileNetV2 (arXiv:1801.04381, table 2): expansion, channels, blocks of each stage; the strides are each form's own.
MOBILENET_STAGES = ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1))
MOBILENET_FIRST, MOBILENET_LAST = 32, 1280

# GoogLeNet (arXiv:1409.4842, table 1): channels of the four branches: 1x1; 1x1 and 3x3; 1x1 and "5x5"; 1x1 behind the
# pool. A pool stands between stages.
GOOGLENET_STAGES = (
    {"3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64)},
    {
        "4a": (192, 96, 208, 16, 48, 64), "4b": (160, 112, 224, 24, 64, 64), "4c": (128, 128, 256, 24, 64, 64),
        "4d": (112, 144, 288, 32, 64, 64), "4e": (256, 160, 320, 32, 128, 128),
    },
    {"5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128)},
)  # fmt: skip
GOOGLENET_FIRST, GOOGLENET_LAST = 192, 1024

# AlexNet in torchvision's widths for small images: channels, stride, whether a pool follows.
ALEXNET = ((64, 2, True), (192, 1, True), (384, 1, False), (256, 1, False), (256, 1, True))


def resnet_thirds(depth: int) -> tuple[int, int, int]:
    """Blocks a stage of a network of 6k + 2 layers for small images."""
    blocks, rest = divmod(depth - 2, 6)
    if rest or blocks < 1:
        raise ValueError(f"a ResNet for small images has 6k + 2 layers, not {depth}")
    return blocks, blocks, blocks


def mobilenet_blocks(strides: Sequence[int]) -> list[list[tuple[int, int, int, int]]]:
    """(channels in, out, inside, stride) of every block of each stage; the first block of a stage has its stride."""
    stages, inputs = [], MOBILENET_FIRST
    for (expansion, outputs, count), stride in zip(MOBILENET_STAGES, strides, strict=True):
        first = (inputs, outputs, inputs * expansion, stride)
        stages.append([first] + [(outputs, outputs, outputs * expansion, 1)] * (count - 1))
        inputs = outputs
    return stages
