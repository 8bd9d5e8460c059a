"""The data sets that the zoo's networks are for, and how each is normalised."""

from __future__ import annotations

from dataclasses import dataclass

from models.normalisation import FASHION_MNIST, IMAGENET, Normalisation


@dataclass(frozen=True)
class DataSet:
    """`shape` of one image (channels, height, width) as the networks take it."""

    name: str
    shape: tuple[int, int, int]
    classes: int
    normalisation: Normalisation


# The first three as in dnn-benchmarks (cad-polito-it), whose fault-injection campaigns ran with them.
CIFAR10 = DataSet("CIFAR-10", (3, 32, 32), 10, Normalisation((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)))
CIFAR100 = DataSet(
    "CIFAR-100", (3, 32, 32), 100,
    Normalisation(
        (0.5070751592371323, 0.48654887331495095, 0.4409178433670343),
        (0.2673342858792401, 0.2564384629170883, 0.27615047132568404),
    ),
)  # fmt: skip
GTSRB = DataSet("GTSRB", (3, 50, 50), 43, Normalisation((0.3403, 0.3121, 0.3214), (0.2724, 0.2608, 0.2669)))

MNIST = DataSet("MNIST", (1, 28, 28), 10, Normalisation((0.1307,), (0.3081,)))
"""Mean and standard deviation of the 60,000 training images."""

FASHION = DataSet("Fashion-MNIST", (1, 28, 28), 10, FASHION_MNIST)
LARGE = DataSet("ImageNet", (3, 224, 224), 1000, IMAGENET)
