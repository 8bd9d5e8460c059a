"""`onnxfi analyze`: options are the fields of the records in onnxfi.study.settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from onnxfi.cli.options import Command, numbers, option, pixels, shard, size
from onnxfi.study.settings import Data, Machine, Plan, Precision, Target

FAULTS, IMAGES, GOAL, MACHINE, OUTPUT = "Faults", "Images", "Plan and precision", "Machine", "Output"

TENSORFI = "tensorfi+"


@click.command(cls=Command)
@click.argument("model", required=False, type=click.Path(path_type=Path))
@option(
    FAULTS,
    "--target",
    type=click.Choice(["weights", "activations", "both"]),
    default=Target.kind,
    help="What can go wrong.",
)
@option(
    FAULTS,
    "--activation",
    type=click.Choice(["input", "output", "mac"]),
    default=Target.activation,
    help="Which activations: the word that a layer reads, the word that its op writes, or one operand of one output.",
)
@option(
    FAULTS,
    "--parameters",
    type=click.Choice(["weights", "all"]),
    default=Target.parameters,
    help="Which parameters: weights of rank 2 and more, or biases and BatchNormalization too.",
)
@option(
    FAULTS,
    "--fault-model",
    type=click.Choice(["bit-flip", "stuck-at-0", "stuck-at-1"]),
    default=Target.fault_model,
    help="What happens to a bit.",
)
@option(
    FAULTS,
    "--bits",
    metavar="BITS",
    help="Bits: 30, 23-30, sign, exponent, mantissa, joined by commas.  [default: all]",
)
@option(
    FAULTS, "--layers", metavar="GLOB", multiple=True, help="Only layers whose id matches; repeatable.  [default: all]"
)
@option(FAULTS, "--unshare", is_flag=True, help="Split initializers that several nodes read.")
@option(FAULTS, "--output", metavar="NAME", help="The output to look at, where the model has several.")
@option(
    IMAGES,
    "--data",
    type=click.Path(path_type=Path),
    multiple=True,
    help=".npz, .npy, a folder of class folders, or of images with labels.csv; repeatable.",
)
@option(
    IMAGES,
    "--images",
    type=click.IntRange(min=1),
    metavar="N",
    help="A seeded, class-stratified subset.  [default: all]",
)
@option(IMAGES, "--synthetic", type=click.IntRange(min=1), metavar="N", help="No images at hand: N of noise.")
@option(
    IMAGES,
    "--preset",
    "presets",
    type=click.Choice(["cifar10", "cifar100", "gtsrb", "imagenet", TENSORFI]),
    multiple=True,
    help=f"Preprocessing of a well-known data set; and {TENSORFI}, its three settings of faults as well, for --groups.",
)
@option(IMAGES, "--scale", type=float, help="Multiplies pixels.  [default: 1/255 for 8-bit images]")
@option(
    IMAGES,
    "--mean",
    type=numbers,
    metavar="NUMBERS",
    help="Subtracted next: one number, or one a channel, as 0.49,0.48,0.45.",
)
@option(IMAGES, "--std", type=numbers, metavar="NUMBERS", help="Divides last, likewise.")
@option(IMAGES, "--resize", type=pixels, metavar="PIXELS", help="Before all: the shorter side, or HEIGHTxWIDTH.")
@option(IMAGES, "--crop", type=pixels, metavar="PIXELS", help="From the centre, after --resize.")
@option(
    IMAGES, "--labels", metavar="FILE", help="Names or ids of the model's outputs, a line each, if in another order."
)
@option(
    IMAGES,
    "--label-map",
    metavar="FILE",
    help="Or the number of the class of each output, - for none; background-first for nets of 1,001 outputs.",
)
@option(
    GOAL,
    "--plan",
    type=click.Choice(["adaptive", "exhaustive", "network", "layer", "data-unaware", "data-aware"]),
    default=Plan.kind,
    help="Which faults to try: until the precision is reached, all, or as a published plan says.",
)
@option(GOAL, "--precision", type=float, default=Precision.model, help="Adaptive: half-width of the MVF's interval.")
@option(GOAL, "--layer-precision", type=float, default=Precision.layer, help="Adaptive: half-width of each LVF's.")
@option(GOAL, "--confidence", type=float, default=Precision.confidence, help="Of every interval.")
@option(GOAL, "--budget", type=click.IntRange(min=1), metavar="N", help="Adaptive: stop after N trials all the same.")
@option(GOAL, "--margin", type=float, default=Plan.margin, help="Published plans: error margin.")
@option(
    GOAL,
    "--p",
    type=click.Choice(["pilot", "weights", "date23-table"]),
    default=Plan.p,
    help="Data-aware: p of each bit measured, computed from the weights, or as published.",
)
@option(
    GOAL, "--shard", type=shard, metavar="I/N", help="Only the i-th of n parts of a fixed plan; see `onnxfi merge`."
)
@option(GOAL, "--seed", type=click.IntRange(min=0), metavar="N", default=Plan.seed, help="Of every draw.")
@option(MACHINE, "--exact", is_flag=True, help="Bit-identical to the whole faulty model; slower.")
@option(
    MACHINE,
    "--provider",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default=Machine.provider,
    help="Where ONNX Runtime runs.",
)
@option(MACHINE, "--workers", type=click.IntRange(min=1), metavar="N", help="Processes.  [default: one a core]")
@option(MACHINE, "--scheduler", metavar="ADDRESS", help="A Dask scheduler, as tcp://host:8786, whose workers to use.")
@option(MACHINE, "--memory", type=size, metavar="SIZE", default="2GiB", help="For all processes together.")
@option(
    OUTPUT,
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The study's folder.  [default: onnxfi-run/, named after model and question]",
)
@option(
    OUTPUT,
    "--groups",
    metavar="NAME|FILE",
    help="Safety-critical misclassification by groups of classes: see `onnxfi groups`.",
)
@option(OUTPUT, "--fit-per-mbit", type=float, metavar="R", help="Failures in time, from R FIT of raw upsets per Mbit.")
@option(OUTPUT, "--json", "as_json", is_flag=True, help="Print summary.json, and nothing else, to stdout.")
def analyze(model: Path | None, **options: Any) -> None:
    """Where is MODEL vulnerable, and how sure is that?

    Injects faults until every rate is known to the precision asked for. Without MODEL it takes the bundled model and
    images. ^C stops it; the same command goes on. The folder gets the study, report.html, summary.json, layers.csv,
    bits.csv and channels.csv.

    \b
    Example:
      onnxfi analyze
      onnxfi analyze resnet20.onnx --data cifar10_test.npz --preset cifar10
      onnxfi analyze model.onnx --data images/ --target weights --bits exponent
    """
    from onnxfi import api
    from onnxfi.cli.progress import Progress
    from onnxfi.cli.shown import shown

    target = Target(
        kind=options["target"],
        activation=options["activation"],
        parameters=options["parameters"],
        layers=options["layers"],
        bits=options["bits"],
        fault_model=options["fault_model"],
        output=options["output"],
        unshare=options["unshare"],
    )
    data = Data(
        paths=options["data"],
        images=options["images"],
        synthetic=options["synthetic"],
        preset=_data_preset(options["presets"]),
        scale=options["scale"],
        mean=options["mean"],
        std=options["std"],
        resize=options["resize"],
        crop=options["crop"],
        labels=options["labels"],
        label_map=options["label_map"],
    )
    precision = Precision(options["precision"], options["layer_precision"], options["confidence"], options["budget"])
    plan = Plan(options["plan"], options["margin"], options["p"], options["shard"], options["seed"])
    machine = Machine(
        exact=options["exact"],
        provider=options["provider"],
        workers=options["workers"],
        scheduler=options["scheduler"],
        memory=options["memory"],
    )
    with Progress() as progress:
        run = api.analyze(
            model,
            data=data,
            target=target,
            plan=plan,
            precision=precision,
            machine=machine,
            out=options["out"],
            groups=options["groups"],
            fit_per_mbit=options["fit_per_mbit"],
            tensorfi=TENSORFI in options["presets"],
            progress=progress,
        )
    shown(run, options["as_json"])


def _data_preset(presets: tuple[str, ...]) -> Any:
    """The one data set among them, or None."""
    named = [preset for preset in presets if preset != TENSORFI]
    if len(named) > 1:
        raise click.UsageError(f"--preset names two data sets, {named[0]} and {named[1]}; give one.")
    return named[0] if named else None
