"""GoogLeNet (Szegedy et al. 2015, arXiv:1409.4842, table 1) for small images, in two published forms.

Both have BatchNormalization, no auxiliary classifiers, and 3x3 convolutions where the paper has 5x5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from models.keras.layers import (
    Shape,
    Step,
    concat,
    conv,
    dropout,
    linear,
    max_pool,
    mean,
    named,
    network,
    norm,
    relu,
    row,
)
from models.plans import GOOGLENET_FIRST, GOOGLENET_STAGES

Branches = tuple[int, int, int, int, int, int]
Inception = Callable[[Branches], Step]


def cifar10(shape: Shape, classes: int) -> Any:
    """The form of huyvnphan/PyTorch_CIFAR10, after torchvision: one 3x3 convolution where the paper has one of 5x5."""
    stages = _stages(_named_inception, lambda block: f"inception{block}")
    head = {"mean": mean(), "drop": dropout(), "fc": linear(classes)}
    return network(shape, "googlenet", conv1=_unit(GOOGLENET_FIRST, 3), **stages, **head)


def cifar100(shape: Shape, classes: int) -> Any:
    """The form of weiaicunzai/pytorch-cifar100: three convolutions and a pool first, two of 3x3 for one of 5x5."""
    first = [unit for outputs in (64, 64, GOOGLENET_FIRST) for unit in _numbered(outputs, 3, bias=False)]
    stages = _stages(_numbered_inception, lambda block: block[::-1])
    head = {"mean": mean(), "drop": dropout(), "linear": linear(classes)}
    return network(shape, "googlenet", prelayer=row(*first), pool2=_pool(), **stages, **head)


def _pool(stride: int = 2) -> Step:
    return max_pool(3, stride, padding=1)


def _stages(inception: Inception, name: Callable[[str], str]) -> dict[str, Step]:
    steps: dict[str, Step] = {}
    for number, stage in enumerate(GOOGLENET_STAGES, 3):
        steps |= {name(block): inception(branches) for block, branches in stage.items()}
        steps |= {f"pool{number}": _pool()} if number < 5 else {}
    return steps


def _named_inception(branches: Branches) -> Step:
    one, three_in, three, five_in, five, pooled = branches
    return concat(
        {
            "branch1": _unit(one, 1),
            "branch2": row(_unit(three_in, 1), _unit(three, 3)),
            "branch3": row(_unit(five_in, 1), _unit(five, 3)),
            "branch4": row(_pool(1), _unit(pooled, 1)),
        }
    )


def _unit(outputs: int, kernel: int) -> Step:
    return named(conv=conv(outputs, kernel), bn=norm(1e-3), relu=relu())


def _numbered_inception(branches: Branches) -> Step:
    one, three_in, three, five_in, five, pooled = branches
    # The published network has the width as epsilon here, by a slip; its weights were trained with it.
    slip = _numbered(five, 3, epsilon=five)
    return concat(
        {
            "b1": row(*_numbered(one, 1)),
            "b2": row(*_numbered(three_in, 1), *_numbered(three, 3)),
            "b3": row(*_numbered(five_in, 1), *slip, *_numbered(five, 3)),
            "b4": row(_pool(1), *_numbered(pooled, 1)),
        }
    )


def _numbered(outputs: int, kernel: int, epsilon: float = 1e-5, bias: bool = True) -> list[Step]:
    return [conv(outputs, kernel, bias=bias), norm(epsilon), relu()]
