"""Networks without BatchNormalization: LeNet-5, its relative for traffic signs, AlexNet for small images, MLPs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models.keras.layers import Shape, Step, conv, dropout, flat, linear, max_pool, network, relu, row
from models.plans import ALEXNET


def lenet5(shape: Shape, classes: int, padding: int = 0) -> Any:
    """LeCun et al. 1998 (doi:10.1109/5.726791), with ReLU and max pools, as it is usually built today.

    `padding` of the first convolution: 2 makes 28x28 images what the paper has, 32x32 with a margin.
    """
    return network(
        shape, "lenet5",
        conv1=conv(6, 5, bias=True, padding=padding), relu1=relu(), pool1=max_pool(2),
        conv2=conv(16, 5, bias=True, padding=0), relu2=relu(), pool2=max_pool(2), flat=flat(),
        **_hidden((120, 84)), fc3=linear(classes),
    )  # fmt: skip


def traffic_sign(shape: Shape, classes: int) -> Any:
    """TrafficSignNet of buenemann/gh_armrunner_mlops_gtsrb: two 3x3 convolutions, two linear layers."""
    return network(
        shape, "traffic_sign",
        conv1=conv(32, bias=True, padding=0), relu1=relu(), pool1=max_pool(2),
        conv2=conv(64, bias=True, padding=0), relu2=relu(), pool2=max_pool(2), flat=flat(),
        **_hidden((128,)), fc2=linear(classes),
    )  # fmt: skip


def alexnet(shape: Shape, classes: int) -> Any:
    """Krizhevsky et al. 2012 in torchvision's widths; 3x3 convolutions and 2x2 pools, as 32x32 images need."""
    features: list[Step] = []
    for outputs, stride, pooled in ALEXNET:
        features += [conv(outputs, 3, stride, bias=True), relu()]
        features += [max_pool(2)] if pooled else []
    classifier = row(dropout(), linear(4096), relu(), dropout(), linear(4096), relu(), linear(classes))
    return network(shape, "alexnet", features=row(*features), flat=flat(), classifier=classifier)


def mlp(shape: Shape, classes: int, hidden: Sequence[int]) -> Any:
    """Linear layers of the widths `hidden`, each with ReLU, then one to the classes: fc1, fc2, ..."""
    last = {f"fc{len(hidden) + 1}": linear(classes)}
    return network(shape, "mlp", flat=flat(), **_hidden(hidden), **last)


def _hidden(widths: Sequence[int]) -> dict[str, Step]:
    """fc1, relu_fc1, fc2, ... of these widths."""
    steps: dict[str, Step] = {}
    for number, outputs in enumerate(widths, 1):
        steps |= {f"fc{number}": linear(outputs), f"relu_fc{number}": relu()}
    return steps
