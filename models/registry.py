"""Every architecture by name: its family and arguments, the same in both frameworks, and the data set it is for.

Only names and numbers here: no framework is imported until an architecture is built.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from models.normalisation import FASHION_MNIST, IMAGENET, Normalisation
from onnxfi.errors import ModelError

Framework = Literal["pytorch", "keras"]


@dataclass(frozen=True)
class Architecture:
    """One network that `models` can build.

    `builder` is "family:function": the function of models/pytorch/family.py, and the one of the same name in
    models/keras/family.py, each called as function(shape, classes, **arguments). `shape` is one input image
    (channels, height, width) in both frameworks; a Keras network takes it as (height, width, channels).
    """

    name: str
    builder: str
    shape: tuple[int, int, int]
    classes: int
    dataset: str
    normalisation: Normalisation
    about: str
    arguments: Mapping[str, Any]

    def build(self, framework: Framework = "pytorch") -> Any:
        """A network with fresh weights: an `nn.Module` in evaluation mode, or a `keras.Model`.

        Raises ImportError without the framework.
        """
        family, function = self.builder.split(":")
        module = importlib.import_module(f"models.{framework}.{family}")
        net = getattr(module, function)(self.shape, self.classes, **self.arguments)
        return net.eval() if framework == "pytorch" else net


def _cifar_resnet(depth: int) -> Architecture:
    return Architecture(
        f"resnet{depth}", "resnet:small", (3, 32, 32), 10, "CIFAR-10", IMAGENET,
        "CIFAR ResNet, shortcuts without parameters", {"depth": depth},
    )  # fmt: skip


ARCHITECTURES: dict[str, Architecture] = {
    entry.name: entry
    for entry in (
        *map(_cifar_resnet, (20, 32, 44, 56, 110)),
        Architecture(
            "fashion-resnet8", "resnet:small", (1, 28, 28), 10, "Fashion-MNIST", FASHION_MNIST,
            "the bundled demonstration model", {"depth": 8, "shortcut": "conv"},
        ),
    )
}  # fmt: skip


def architecture(name: str) -> Architecture:
    """The entry called `name`; ModelError, naming those that exist, if there is none."""
    try:
        return ARCHITECTURES[name]
    except KeyError:
        raise ModelError(f"no architecture is called {name!r}; there are {', '.join(ARCHITECTURES)}") from None
