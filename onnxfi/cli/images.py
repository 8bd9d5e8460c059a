"""The options that say which images, and what is done to them: the fields of onnxfi.study.settings.Data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from onnxfi.cli.options import numbers, option, pixels
from onnxfi.study.settings import Data

GROUP = "Images"
FIELDS = ("data", "images", "synthetic", "preset", "scale", "mean", "std", "resize", "crop")

_OPTIONS = (
    option(
        GROUP,
        "--data",
        type=click.Path(path_type=Path),
        multiple=True,
        help=".npz, .npy, a folder of class folders, or of images with labels.csv; repeatable.",
    ),
    option(
        GROUP,
        "--images",
        type=click.IntRange(min=1),
        metavar="N",
        help="A seeded, class-stratified subset.  [default: all]",
    ),
    option(GROUP, "--synthetic", type=click.IntRange(min=1), metavar="N", help="No images at hand: N of noise."),
    option(
        GROUP,
        "--preset",
        type=click.Choice(["cifar10", "cifar100", "gtsrb", "imagenet"]),
        help="Preprocessing of a well-known data set.",
    ),
    option(GROUP, "--scale", type=float, help="Multiplies pixels.  [default: 1/255 for 8-bit images]"),
    option(GROUP, "--mean", type=numbers, metavar="NUMBERS", help="Subtracted next: one number, or one a channel."),
    option(GROUP, "--std", type=numbers, metavar="NUMBERS", help="Divides last, likewise."),
    option(GROUP, "--resize", type=pixels, metavar="PIXELS", help="Before all: the shorter side, or HEIGHTxWIDTH."),
    option(GROUP, "--crop", type=pixels, metavar="PIXELS", help="From the centre, after --resize."),
)


def image_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """All of them, on a command that takes them by the names in FIELDS."""
    for add in reversed(_OPTIONS):
        command = add(command)
    return command


def taken(options: dict[str, Any]) -> Data:
    """What was given."""
    return Data(paths=options["data"], **{name: options[name] for name in FIELDS if name != "data"})
