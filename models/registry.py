"""Every architecture by name: its family and arguments, the same in both frameworks, and the data set it is for.

Only names and numbers here: no framework is imported until an architecture is built.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from models.datasets import CIFAR10, CIFAR100, FASHION, GTSRB, LARGE, DataSet
from models.normalisation import IMAGENET, Normalisation
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


def _on(data: DataSet, name: str, builder: str, about: str, **arguments: Any) -> Architecture:
    return Architecture(name, builder, data.shape, data.classes, data.name, data.normalisation, about, arguments)


def _normalised(data: DataSet, by: Normalisation) -> DataSet:
    return replace(data, normalisation=by)


AKAMASTER = _normalised(CIFAR10, IMAGENET)
"""The CIFAR-10 ResNets were trained with ImageNet's mean and std; the published campaigns ran them with CIFAR-10's."""

DISTILLER = _normalised(CIFAR100, Normalisation((0.507, 0.487, 0.441), (0.267, 0.256, 0.276)))

DNN_BENCHMARKS = (
    *(
        _on(AKAMASTER, f"resnet{depth}", "resnet:small", "CIFAR ResNet, shortcuts without parameters", depth=depth)
        for depth in (20, 32, 44, 56, 110)
    ),
    _on(
        CIFAR100, "resnet18-cifar100", "resnet:standard", "ResNet-18 behind a 3x3 convolution",
        depth=18, stem="small", names="weiaicunzai",
    ),
    _on(GTSRB, "resnet20-gtsrb", "resnet:small", "CIFAR ResNet, shortcuts without parameters", depth=20),
)  # fmt: skip

DEEPVIGOR = (
    _on(
        CIFAR100, "resnet18-c", "resnet:standard", "DeepVigor+'s ResNet-18-C",
        depth=18, stem="small", names="kuangliu",
    ),
    _on(
        LARGE, "resnet18-i", "resnet:standard", "DeepVigor+'s ResNet-18-I",
        depth=18, stem="imagenet", names="torchvision",
    ),
    _on(
        LARGE, "resnet34", "resnet:standard", "DeepVigor+'s ResNet-34",
        depth=34, stem="imagenet", names="torchvision",
    ),
)  # fmt: skip

OTHERS = (
    _on(DISTILLER, "resnet20-distiller", "resnet:distiller", "ResNet-20 of karanchahal/distiller", depth=20),
    _on(
        FASHION, "fashion-resnet8", "resnet:small", "the bundled demonstration model",
        depth=8, shortcut="conv",
    ),
)  # fmt: skip

ARCHITECTURES: dict[str, Architecture] = {entry.name: entry for entry in (*DNN_BENCHMARKS, *DEEPVIGOR, *OTHERS)}


def architecture(name: str) -> Architecture:
    """The entry called `name`; ModelError, naming those that exist, if there is none."""
    try:
        return ARCHITECTURES[name]
    except KeyError:
        raise ModelError(f"no architecture is called {name!r}; there are {', '.join(ARCHITECTURES)}") from None
