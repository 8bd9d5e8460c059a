"""What several families are made of. Modules are named by keyword, because published checkpoints load by name."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def named(**modules: nn.Module) -> nn.Sequential:
    """The modules in a row, each under its keyword."""
    return nn.Sequential(OrderedDict(modules))


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1, bias: bool = False) -> nn.Conv2d:
    """A square convolution that keeps the plane's size where the stride is 1."""
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=bias)


class GlobalMean(nn.Module):
    """The mean over the plane: float32 (N, C, H, W) -> (N, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, x.shape[-2:]).flatten(1)


class Residual(nn.Sequential):
    """The modules of `body` in a row, plus what the one module of `beside` (none: the identity) makes of the input."""

    def __init__(self, body: Mapping[str, nn.Module], beside: Mapping[str, nn.Module], relu: bool) -> None:
        super().__init__(OrderedDict({**body, **beside}))
        self.beside, self.rectified = "".join(beside), relu

    def forward(self, x: Tensor) -> Tensor:
        """float32 (N, C, H, W) -> (N, C', H', W')."""
        y, shortcut = x, x
        for name, module in self.named_children():
            if name == self.beside:
                shortcut = module(x)
            else:
                y = module(y)
        return F.relu(y + shortcut) if self.rectified else y + shortcut


class Concat(nn.Sequential):
    """All modules on the same input, their outputs joined along the channels."""

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        super().__init__(OrderedDict(modules))

    def forward(self, x: Tensor) -> Tensor:
        """float32 (N, C, H, W) -> (N, sum of the modules' channels, H', W')."""
        return torch.cat([module(x) for module in self.children()], 1)


def initialise(net: nn.Module) -> nn.Module:
    """He initialisation of every convolution and linear weight (arXiv:1502.01852); returns `net`."""
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight)
    return net
