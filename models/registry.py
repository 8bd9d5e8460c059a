"""Every architecture by name: its family and arguments, the same in both frameworks, and the data set it is for.

Only names and numbers here: no framework is imported until an architecture is built.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from models.datasets import CIFAR10, CIFAR100, FASHION, GTSRB, LARGE, MNIST, DataSet
from models.normalisation import IMAGENET, Normalisation
from onnxfi.errors import ModelError

Framework = Literal["pytorch", "keras"]


@dataclass(frozen=True)
class Published:
    """Top-1 on all test images as a checkpoint's publisher states it, fractions, and the input it was measured with."""

    pytorch: float
    keras: float
    normalisation: Normalisation


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
    published: Published | None = None

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

HALF = Normalisation((0.5,) * 3, (0.5,) * 3)
"""Pixels from -1 to 1."""

DNN_BENCHMARKS = (
    *(
        _on(AKAMASTER, f"resnet{depth}", "resnet:small", "no parameters in the shortcuts", depth=depth)
        for depth in (20, 32, 44, 56, 110)
    ),
    _on(CIFAR10, "mobilenetv2", "mobilenet:cifar10", "ReLU, convolutions beside"),
    *(
        _on(CIFAR10, f"vgg{depth}_bn", "vgg:vgg", "three linear layers", depth=depth)
        for depth in (11, 13, 16, 19)
    ),
    *(
        _on(CIFAR10, f"densenet{depth}", "densenet:densenet", "a pool in front", depth=depth, names="torchvision")
        for depth in (121, 161)
    ),
    _on(CIFAR10, "googlenet", "googlenet:cifar10", "one convolution in front"),
    _on(
        CIFAR100, "resnet18-cifar100", "resnet:standard", "a 3x3 convolution in front",
        depth=18, stem="small", names="weiaicunzai",
    ),
    _on(
        CIFAR100, "densenet121-cifar100", "densenet:densenet", "no pool in front",
        depth=121, names="weiaicunzai",
    ),
    _on(CIFAR100, "googlenet-cifar100", "googlenet:cifar100", "three convolutions in front"),
    _on(GTSRB, "resnet20-gtsrb", "resnet:small", "no parameters in the shortcuts", depth=20),
    _on(
        GTSRB, "densenet121-gtsrb", "densenet:densenet", "no pool in front",
        depth=121, names="weiaicunzai",
    ),
    _on(GTSRB, "vgg11_bn-gtsrb", "vgg:vgg", "three linear layers", depth=11),
)  # fmt: skip

DEEPVIGOR = (
    _on(
        CIFAR10, "vgg11", "vgg:vgg", "DeepVigor+: one linear layer",
        depth=11, pools=4, hidden=0, bias=False,
    ),
    _on(CIFAR100, "vgg16-cifar100", "vgg:vgg", "DeepVigor+: three linear layers", depth=16),
    _on(CIFAR100, "mobilenetv2-cifar100", "mobilenet:cifar100", "DeepVigor+: biases, ReLU6"),
    _on(MNIST, "lenet5", "classic:lenet5", "DeepVigor", padding=2),
    _on(CIFAR10, "alexnet", "classic:alexnet", "DeepVigor: for small images"),
    _on(MNIST, "mlp3", "classic:mlp", "DeepVigor: the widths are ours", hidden=(256, 128)),
    _on(MNIST, "mlp5", "classic:mlp", "DeepVigor: the widths are ours", hidden=(512, 256, 128, 64)),
    _on(
        CIFAR100, "resnet18-c", "resnet:standard", "DeepVigor+",
        depth=18, stem="small", names="kuangliu",
    ),
    _on(
        LARGE, "resnet18-i", "resnet:standard", "DeepVigor+",
        depth=18, stem="imagenet", names="torchvision",
    ),
    _on(
        LARGE, "resnet34", "resnet:standard", "DeepVigor+",
        depth=34, stem="imagenet", names="torchvision",
    ),
)  # fmt: skip

OTHERS = (
    _on(_normalised(CIFAR10, HALF), "lenet5-mrfi", "classic:lenet5", "of fffasttime/MRFI"),
    _on(
        replace(GTSRB, shape=(3, 32, 32), normalisation=HALF), "trafficsignnet", "classic:traffic_sign",
        "of buenemann, for MLOps",
    ),
    _on(DISTILLER, "resnet20-distiller", "resnet:distiller", "of karanchahal/distiller", depth=20),
    _on(
        FASHION, "fashion-resnet8", "resnet:small", "the bundled model",
        depth=8, shortcut="conv",
    ),
)  # fmt: skip

# Top-1 in per cent, PyTorch and Keras, from the README of dnn-benchmarks, measured with its data sets' normalisation.
TOP1 = {
    "resnet20": (91.5, 91.5), "resnet32": (92.3, 92.3), "resnet44": (92.8, 92.8), "resnet56": (93.3, 93.3),
    "resnet110": (93.5, 93.5), "mobilenetv2": (91.7, 91.7), "vgg11_bn": (91.3, 91.3), "vgg13_bn": (93.8, 93.8),
    "vgg16_bn": (93.5, 93.5), "vgg19_bn": (93.2, 93.2), "densenet121": (93.2, 93.1), "densenet161": (93.1, 93.1),
    "googlenet": (92.2, 92.2), "resnet18-cifar100": (76.2, 76.2), "densenet121-cifar100": (78.7, 78.7),
    "googlenet-cifar100": (76.3, 76.3), "resnet20-gtsrb": (94.3, 94.3), "densenet121-gtsrb": (96.5, 96.5),
    "vgg11_bn-gtsrb": (95.5, 95.5),
}  # fmt: skip


def _with_top1(entry: Architecture) -> Architecture:
    pytorch, keras = TOP1[entry.name]
    (data,) = (data for data in (CIFAR10, CIFAR100, GTSRB) if data.name == entry.dataset)
    return replace(entry, published=Published(pytorch / 100, keras / 100, data.normalisation))


ARCHITECTURES: dict[str, Architecture] = {
    entry.name: entry for entry in (*map(_with_top1, DNN_BENCHMARKS), *DEEPVIGOR, *OTHERS)
}


def architecture(name: str) -> Architecture:
    """The entry called `name`; ModelError, naming those that exist, if there is none."""
    try:
        return ARCHITECTURES[name]
    except KeyError:
        raise ModelError(f"no architecture is called {name!r}; there are {', '.join(ARCHITECTURES)}") from None
