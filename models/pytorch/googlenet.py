"""GoogLeNet (Szegedy et al. 2015, arXiv:1409.4842, table 1) for small images, in two published forms.

Both have BatchNormalization, no auxiliary classifiers, and 3x3 convolutions where the paper has 5x5.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

from torch import nn

from models.plans import GOOGLENET_FIRST, GOOGLENET_LAST, GOOGLENET_STAGES
from models.pytorch.layers import Concat, GlobalMean, conv, initialise, named

Branches = tuple[int, int, int, int, int, int]
Inception = Callable[[int, Branches], nn.Module]


def cifar10(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """The form of huyvnphan/PyTorch_CIFAR10, after torchvision: one 3x3 convolution where the paper has one of 5x5."""
    stages = _stages(_named_inception, lambda block: f"inception{block}")
    return initialise(
        named(
            conv1=_unit(shape[0], GOOGLENET_FIRST, 3),
            **stages,
            mean=GlobalMean(),
            drop=nn.Dropout(),
            fc=nn.Linear(GOOGLENET_LAST, classes),
        )
    )


def cifar100(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """The form of weiaicunzai/pytorch-cifar100: three convolutions and a pool first, two of 3x3 for one of 5x5."""
    widths = (shape[0], 64, 64, GOOGLENET_FIRST)
    first = [unit for ins, outs in itertools.pairwise(widths) for unit in _numbered(ins, outs, 3, bias=False)]
    stages = _stages(_numbered_inception, lambda block: block[::-1])
    head = {"mean": GlobalMean(), "drop": nn.Dropout(), "linear": nn.Linear(GOOGLENET_LAST, classes)}
    return initialise(named(prelayer=nn.Sequential(*first), pool2=_pool(), **stages, **head))


def _pool(stride: int = 2) -> nn.Module:
    return nn.MaxPool2d(3, stride, padding=1)


def _stages(inception: Inception, name: Callable[[str], str]) -> dict[str, nn.Module]:
    modules: dict[str, nn.Module] = {}
    width = GOOGLENET_FIRST
    for number, stage in enumerate(GOOGLENET_STAGES, 3):
        for block, branches in stage.items():
            modules[name(block)] = inception(width, branches)
            width = branches[0] + branches[2] + branches[4] + branches[5]
        if number < 5:
            modules[f"pool{number}"] = _pool()
    return modules


def _named_inception(inputs: int, branches: Branches) -> nn.Module:
    one, three_in, three, five_in, five, pooled = branches
    return Concat(
        {
            "branch1": _unit(inputs, one, 1),
            "branch2": nn.Sequential(_unit(inputs, three_in, 1), _unit(three_in, three, 3)),
            "branch3": nn.Sequential(_unit(inputs, five_in, 1), _unit(five_in, five, 3)),
            "branch4": nn.Sequential(_pool(1), _unit(inputs, pooled, 1)),
        }
    )


def _unit(inputs: int, outputs: int, kernel: int) -> nn.Module:
    return named(conv=conv(inputs, outputs, kernel), bn=nn.BatchNorm2d(outputs, eps=1e-3), relu=nn.ReLU())


def _numbered_inception(inputs: int, branches: Branches) -> nn.Module:
    one, three_in, three, five_in, five, pooled = branches
    # The published network has the width as epsilon here, by a slip; its weights were trained with it.
    slip = _numbered(five_in, five, 3, eps=five)
    return Concat(
        {
            "b1": nn.Sequential(*_numbered(inputs, one, 1)),
            "b2": nn.Sequential(*_numbered(inputs, three_in, 1), *_numbered(three_in, three, 3)),
            "b3": nn.Sequential(*_numbered(inputs, five_in, 1), *slip, *_numbered(five, five, 3)),
            "b4": nn.Sequential(_pool(1), *_numbered(inputs, pooled, 1)),
        }
    )


def _numbered(inputs: int, outputs: int, kernel: int, eps: float = 1e-5, bias: bool = True) -> list[nn.Module]:
    return [conv(inputs, outputs, kernel, bias=bias), nn.BatchNorm2d(outputs, eps=eps), nn.ReLU()]
