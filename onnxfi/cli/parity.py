"""`onnxfi parity`: options are the fields of onnxfi.parity.settings.Asking."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from onnxfi.cli.faults import unshared_weight_options
from onnxfi.cli.goal import GROUP as GOAL
from onnxfi.cli.goal import goal_options
from onnxfi.cli.images import PRESETS, image_options, taken
from onnxfi.cli.machine import machine_options
from onnxfi.cli.options import Command, added, numbers, option
from onnxfi.parity.settings import Watch
from onnxfi.study.list_settings import Meet
from onnxfi.study.settings import Data, Machine, Plan, Precision, Target
from onnxfi.vigor.settings import Sampling

FAULTS, IMAGES, OUTPUT = "Faults", "Images", "Output"
OF_B = ("data", "preset", "scale", "mean", "std")

_IMAGES_OF_B = added(
    option(
        IMAGES,
        "--data-b",
        type=click.Path(path_type=Path),
        multiple=True,
        help="Of B, where it needs files of its own.",
    ),
    option(IMAGES, "--preset-b", type=click.Choice(PRESETS), help="As --preset, of B.  [default: as of A]"),
    option(IMAGES, "--scale-b", type=float, help="As --scale, of B."),
    option(IMAGES, "--mean-b", type=numbers, metavar="NUMBERS", help="As --mean, of B."),
    option(IMAGES, "--std-b", type=numbers, metavar="NUMBERS", help="As --std, of B."),
)


@click.command(cls=Command)
@click.argument("a", required=False, type=click.Path(path_type=Path))
@click.argument("b", required=False, type=click.Path(path_type=Path))
@option(
    FAULTS,
    "--target",
    type=click.Choice(["weights", "activations", "both"]),
    default="weights",
    help="What can go wrong; activations are the words that layers read.",
)
@unshared_weight_options
@option(FAULTS, "--output-b", metavar="NAME", help="As --output, of B.")
@option(
    FAULTS,
    "--faults",
    type=click.Path(path_type=Path),
    metavar="LIST",
    help="A fault list, whose rows are repeated in both in the place of drawn faults.",
)
@option(
    FAULTS, "--match", type=click.Path(path_type=Path), metavar="CSV", help="Names of the list's layers in A: PT,TF."
)
@option(
    FAULTS,
    "--studies",
    nargs=2,
    type=click.Path(path_type=Path),
    metavar="RUN_A RUN_B",
    help="Run nothing: compare the studies in two folders. With A and B, layers are matched by value, else by name.",
)
@image_options
@_IMAGES_OF_B
@option(
    GOAL,
    "--plan",
    type=click.Choice(["adaptive", "network", "layer", "data-unaware", "data-aware", "exhaustive"]),
    default=Plan.kind,
    help="Which faults of A are drawn.",
)
@goal_options
@option(GOAL, "--budget", type=click.IntRange(min=1), metavar="TRIALS", help="Stop after so many trials in each model.")
@option(
    GOAL,
    "--vigor",
    type=float,
    metavar="RATIO",
    help="DeepVigor+ of both, too, of this share of the channels of each layer.",
)
@option(
    GOAL, "--site-images", type=click.IntRange(min=1), metavar="N", help="With --vigor: only N images for each site."
)
@machine_options
@option(OUTPUT, "--groups", metavar="NAME|FILE", help="Safety-critical misclassification in both, by these groups.")
@option(
    OUTPUT,
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where it is kept.  [default: ./onnxfi-run/...]",
)
@option(OUTPUT, "--json", "as_json", is_flag=True, help="Print the object of parity.json, and nothing else, to stdout.")
def parity(a: Path | None, b: Path | None, **options: Any) -> None:
    """Are A and B, two ONNX files of one network, the same, and do they fail alike?

    Layers are matched by the values of their weights. Faults are drawn in A and repeated in B, bit by bit, on the same
    images; every rate is compared, with the interval of the paired difference. Without A and B: the bundled model and
    its Keras twin.

    \b
    Example:
      onnxfi parity
      onnxfi parity pytorch.onnx keras.onnx --data test.npz --preset cifar10
      onnxfi parity pytorch.onnx keras.onnx --data test.npz --mean-b 0 --std-b 1
      onnxfi parity a.onnx b.onnx --data test.npz --faults ResNet20_FL.csv
      onnxfi parity --studies onnxfi-run/a onnxfi-run/b --out compared
    """
    from onnxfi import api
    from onnxfi.cli.watching import Watching
    from onnxfi.report import parity_tables, tables

    with Watching() as watching:
        if options["studies"]:
            models = (a, b) if a and b else None
            found = api.compare_studies(
                *options["studies"], models=models, groups=options["groups"], out=options["out"]
            )
        else:
            watch = Watch(watching.clean, watching, watching.listed, watching.searched)
            found = api.parity(a, b, progress=watch, **_asked(options))
    if options["as_json"]:
        click.echo(found.to_json(), nl=False)
        return
    console = tables.console()
    for block in parity_tables.blocks(found.found):
        console.print(block)
    if found.folder:
        click.echo(f"\nFiles: {found.folder}")


def _asked(options: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `api.parity`."""
    data = taken(options)
    ratio, images = options["vigor"], options["site_images"]
    fields = ("layers", "bits", "output")
    return {
        "data": data,
        "data_b": _of_b(data, options),
        "target": Target(kind=options["target"], **{name: options[name] for name in fields}),
        "plan": Plan(options["plan"], options["margin"], seed=options["seed"]),
        "precision": Precision(
            options["precision"], options["layer_precision"], options["confidence"], options["budget"]
        ),
        "machine": Machine(**{name: options[name] for name in ("exact", "provider", "workers", "memory")}),
        "output_b": options["output_b"],
        "faults": options["faults"],
        "meet": Meet(match=options["match"]),
        "sampling": None if ratio is None else Sampling(ratio, images, options["seed"]),
        "groups": options["groups"],
        "out": options["out"],
    }


def _of_b(data: Data, options: dict[str, Any]) -> Data | None:
    """A's images with what was said of B; None where nothing was."""
    given = {name: options[f"{name}_b"] for name in OF_B if options[f"{name}_b"]}
    if "data" in given:
        given["paths"] = given.pop("data")
    return replace(data, **given) if given else None
