"""VGG (Simonyan, Zisserman 2015, arXiv:1409.1556, table 1) with BatchNormalization, for small images."""

from __future__ import annotations

from typing import Any

from models.keras.layers import Shape, Step, conv, dropout, flat, linear, max_pool, mean, network, norm, relu, row
from models.plans import VGG_CONVOLUTIONS, VGG_WIDTHS


def vgg(shape: Shape, classes: int, depth: int, pools: int = 5, hidden: int = 4096, bias: bool = True) -> Any:
    """VGG-11, -13, -16 or -19: 3x3 convolutions in five stages, then the classifier.

    `pools` = 4 leaves out the pool after the first stage. `hidden` is the width of the two hidden linear layers; 0
    leaves them out and takes the mean over the plane.
    """
    features: list[Step] = []
    for stage, (outputs, count) in enumerate(zip(VGG_WIDTHS, VGG_CONVOLUTIONS[depth], strict=True)):
        features += [conv(outputs, bias=bias), norm(), relu()] * count
        features += [max_pool(2)] if stage >= len(VGG_WIDTHS) - pools else []
    if not hidden:
        return network(shape, f"vgg{depth}", features=row(*features), mean=mean(), classifier=linear(classes))
    classifier = row(
        linear(hidden), relu(), dropout(),
        linear(hidden), relu(), dropout(),
        linear(classes),
    )  # fmt: skip
    return network(shape, f"vgg{depth}", features=row(*features), flat=flat(), classifier=classifier)
