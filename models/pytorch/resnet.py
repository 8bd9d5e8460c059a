"""Residual networks for small images (He et al. 2016, arXiv:1512.03385, section 4.2), with BatchNormalization.

One module for all: ResNet-20/32/44/56/110 as the published CIFAR-10 checkpoints name their parameters
(akamaster/pytorch_resnet_cifar10), and the bundled Fashion-MNIST network, which has one block a stage.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

STAGES = (16, 32, 64)

Shortcut = Callable[[int, int, int], nn.Module]
"""(channels in, channels out, stride) -> the module beside the two convolutions, where the shape changes."""


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
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class Block(nn.Module):
    """conv1 - bn1 - ReLU - conv2 - bn2, plus the shortcut, then ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int, shortcut: Shortcut) -> None:
        super().__init__()
        same = inputs == outputs and stride == 1
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity() if same else shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """float32 (N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""
        y: Tensor = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y)) + self.shortcut(x)
        return F.relu(y)


class ResNet(nn.Module):
    """A 3x3 convolution, three stages of `blocks` residual blocks, the mean over the plane, one linear layer."""

    def __init__(self, blocks: int, channels: int, classes: int, shortcut: Shortcut) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, STAGES[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(STAGES[0])
        self.layer1 = _stage(blocks, STAGES[0], STAGES[0], 1, shortcut)
        self.layer2 = _stage(blocks, STAGES[0], STAGES[1], 2, shortcut)
        self.layer3 = _stage(blocks, STAGES[1], STAGES[2], 2, shortcut)
        self.linear = nn.Linear(STAGES[2], classes)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images, float32 (N, channels, H, W), H and W multiples of 4 -> logits, float32 (N, classes)."""
        y: Tensor = F.relu(self.bn1(self.conv1(x)))
        y = self.layer3(self.layer2(self.layer1(y)))
        y = F.avg_pool2d(y, y.shape[-2:]).flatten(1)
        logits: Tensor = self.linear(y)
        return logits


def _stage(blocks: int, inputs: int, outputs: int, stride: int, shortcut: Shortcut) -> nn.Sequential:
    first = Block(inputs, outputs, stride, shortcut)
    return nn.Sequential(first, *(Block(outputs, outputs, 1, shortcut) for _ in range(blocks - 1)))


def _initialise(net: nn.Module) -> None:
    """He initialisation of every convolution and linear weight (arXiv:1502.01852)."""
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight)


SHORTCUTS: dict[str, Shortcut] = {"pad": PadShortcut, "conv": conv_shortcut}


def small(shape: tuple[int, int, int], classes: int, depth: int, shortcut: Literal["pad", "conv"] = "pad") -> nn.Module:
    """The ResNet for small images with `depth` = 6k + 2 layers."""
    blocks, rest = divmod(depth - 2, 6)
    if rest or blocks < 1:
        raise ValueError(f"a ResNet for small images has 6k + 2 layers, not {depth}")
    return ResNet(blocks, shape[0], classes, SHORTCUTS[shortcut])
