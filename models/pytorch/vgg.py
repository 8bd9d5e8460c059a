"""VGG (Simonyan, Zisserman 2015, arXiv:1409.1556, table 1) with BatchNormalization, for small images.

The modules are numbered as torchvision does, which dnn-benchmarks follows.
"""

from __future__ import annotations

from torch import nn

from models.plans import VGG_CONVOLUTIONS, VGG_WIDTHS
from models.pytorch.layers import GlobalMean, conv, initialise, named


def vgg(
    shape: tuple[int, int, int], classes: int, depth: int, pools: int = 5, hidden: int = 4096, bias: bool = True
) -> nn.Module:
    """VGG-11, -13, -16 or -19: 3x3 convolutions in five stages, then the classifier.

    `pools` = 4 leaves out the pool after the first stage. `hidden` is the width of the two hidden linear layers; 0
    leaves them out and takes the mean over the plane.
    """
    features: list[nn.Module] = []
    inputs = shape[0]
    for stage, (outputs, count) in enumerate(zip(VGG_WIDTHS, VGG_CONVOLUTIONS[depth], strict=True)):
        for _ in range(count):
            features += [conv(inputs, outputs, bias=bias), nn.BatchNorm2d(outputs), nn.ReLU()]
            inputs = outputs
        if stage >= len(VGG_WIDTHS) - pools:
            features.append(nn.MaxPool2d(2))
    if not hidden:
        return initialise(
            named(features=nn.Sequential(*features), mean=GlobalMean(), classifier=nn.Linear(inputs, classes))
        )
    flat = inputs * (shape[1] >> pools) * (shape[2] >> pools)
    classifier = nn.Sequential(
        nn.Linear(flat, hidden), nn.ReLU(), nn.Dropout(),
        nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(),
        nn.Linear(hidden, classes),
    )  # fmt: skip
    return initialise(named(features=nn.Sequential(*features), flat=nn.Flatten(), classifier=classifier))
