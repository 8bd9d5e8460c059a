"""The options that say which images, and what is done to them: the fields of onnxfi.study.settings.Data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from onnxfi.cli.options import Decorator, added, numbers, option, pixels
from onnxfi.study.settings import Data, Preset

GROUP = "Images"
PRESETS = ["cifar10", "cifar100", "gtsrb", "imagenet"]
PRESET_HELP = "Preprocessing of a well-known data set"
FIELDS = ("data", "images", "synthetic", "scale", "mean", "std", "resize", "crop", "labels", "label_map")

_BEFORE = (
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
)
_PRESET = option(GROUP, "--preset", type=click.Choice(PRESETS), help=f"{PRESET_HELP}.")
_AFTER = (
    option(GROUP, "--scale", type=float, help="Multiplies pixels.  [default: 1/255 for 8-bit images]"),
    option(
        GROUP,
        "--mean",
        type=numbers,
        metavar="NUMBERS",
        help="Subtracted next: one number, or one a channel, as 0.49,0.48,0.45.",
    ),
    option(GROUP, "--std", type=numbers, metavar="NUMBERS", help="Divides last, likewise."),
    option(GROUP, "--resize", type=pixels, metavar="PIXELS", help="Before all: the shorter side, or HEIGHTxWIDTH."),
    option(GROUP, "--crop", type=pixels, metavar="PIXELS", help="From the centre, after --resize."),
    option(
        GROUP,
        "--labels",
        metavar="FILE",
        help="Names or ids of the model's outputs, a line each, if in another order.",
    ),
    option(
        GROUP,
        "--label-map",
        metavar="FILE",
        help="Or the number of the class of each output, - for none; background-first for nets of 1,001 outputs.",
    ),
)

image_options: Decorator = added(*_BEFORE, _PRESET, *_AFTER)
"""All of them, on a command that takes them by the names of the record's fields."""


def image_options_with(preset: Callable[..., Any]) -> Decorator:
    """All of them, with a --preset of the command's own."""
    return added(*_BEFORE, preset, *_AFTER)


def taken(options: dict[str, Any], preset: Preset | None = None) -> Data:
    """What was given; `preset` where the command has a --preset of its own."""
    given = {name: options[name] for name in FIELDS if name != "data"}
    return Data(paths=options["data"], preset=options.get("preset", preset), **given)
