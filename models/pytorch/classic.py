"""Networks without BatchNormalization: LeNet-5, its relative for traffic signs, AlexNet for small images, MLPs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import nn

from models.plans import ALEXNET
from models.pytorch.layers import initialise, named

Shape = tuple[int, int, int]


def lenet5(shape: Shape, classes: int, padding: int = 0) -> nn.Module:
    """LeCun et al. 1998 (doi:10.1109/5.726791), with ReLU and max pools, as it is usually built today.

    `padding` of the first convolution: 2 makes 28x28 images what the paper has, 32x32 with a margin.
    """
    plane = [((size + 2 * padding - 4) // 2 - 4) // 2 for size in shape[1:]]
    return initialise(
        named(
            conv1=nn.Conv2d(shape[0], 6, 5, padding=padding), relu1=nn.ReLU(), pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(6, 16, 5), relu2=nn.ReLU(), pool2=nn.MaxPool2d(2), flat=nn.Flatten(),
            **_hidden((16 * plane[0] * plane[1], 120, 84)), fc3=nn.Linear(84, classes),
        )
    )  # fmt: skip


def traffic_sign(shape: Shape, classes: int) -> nn.Module:
    """TrafficSignNet of buenemann/gh_armrunner_mlops_gtsrb: two 3x3 convolutions, two linear layers."""
    plane = [((size - 2) // 2 - 2) // 2 for size in shape[1:]]
    return initialise(
        named(
            conv1=nn.Conv2d(shape[0], 32, 3), relu1=nn.ReLU(), pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(32, 64, 3), relu2=nn.ReLU(), pool2=nn.MaxPool2d(2), flat=nn.Flatten(),
            **_hidden((64 * plane[0] * plane[1], 128)), fc2=nn.Linear(128, classes),
        )
    )  # fmt: skip


def alexnet(shape: Shape, classes: int) -> nn.Module:
    """Krizhevsky et al. 2012 in torchvision's widths; 3x3 convolutions and 2x2 pools, as 32x32 images need."""
    features: list[nn.Module] = []
    inputs = shape[0]
    for outputs, stride, pooled in ALEXNET:
        features += [nn.Conv2d(inputs, outputs, 3, stride, padding=1), nn.ReLU()]
        features += [nn.MaxPool2d(2)] if pooled else []
        inputs = outputs
    classifier = nn.Sequential(
        nn.Dropout(), nn.Linear(inputs * (shape[1] // 16) * (shape[2] // 16), 4096), nn.ReLU(),
        nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, classes),
    )  # fmt: skip
    return initialise(named(features=nn.Sequential(*features), flat=nn.Flatten(), classifier=classifier))


def mlp(shape: Shape, classes: int, hidden: Sequence[int]) -> nn.Module:
    """Linear layers of the widths `hidden`, each with ReLU, then one to the classes: fc1, fc2, ..."""
    widths = (shape[0] * shape[1] * shape[2], *hidden)
    return initialise(
        named(flat=nn.Flatten(), **_hidden(widths), **{f"fc{len(widths)}": nn.Linear(widths[-1], classes)})
    )


def _hidden(widths: Sequence[int]) -> dict[str, nn.Module]:
    """fc1, relu_fc1, fc2, ... between layers of these widths."""
    modules: dict[str, nn.Module] = {}
    for number, (inputs, outputs) in enumerate(itertools.pairwise(widths), 1):
        modules |= {f"fc{number}": nn.Linear(inputs, outputs), f"relu_fc{number}": nn.ReLU()}
    return modules
