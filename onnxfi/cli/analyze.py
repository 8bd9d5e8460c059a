"""`onnxfi analyze`: options are the fields of the records in onnxfi.study.settings."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from onnxfi.cli import faults, images, machine, vigor
from onnxfi.cli.goal import GROUP as GOAL
from onnxfi.cli.goal import goal_options
from onnxfi.cli.options import Command, option, shard
from onnxfi.study.settings import Machine, Plan, Precision, Target

OUTPUT = "Output"

TENSORFI = "tensorfi+"
INJECTION = "injection"


class Analyze(Command):
    """With a --method of `onnxfi vigor` it is that verb, with all options of that one."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        named = [value for word, value in pairwise([*args, ""]) if word == "--method"]
        named += [word.removeprefix("--method=") for word in args if word.startswith("--method=")]
        if set(named) & set(vigor.METHODS):
            return vigor.vigor.make_context(info_name, args, parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


@click.command(cls=Analyze)
@click.argument("model", required=False, type=click.Path(path_type=Path))
@option(
    faults.GROUP,
    "--target",
    type=click.Choice(["weights", "activations", "both"]),
    default=Target.kind,
    help="What can go wrong.",
)
@option(
    faults.GROUP,
    "--activation",
    type=click.Choice(["input", "output", "mac"]),
    default=Target.activation,
    help="Which activations: the word that a layer reads, the word that its op writes, or one operand of one output.",
)
@option(
    faults.GROUP,
    "--fault-model",
    type=click.Choice(["bit-flip", "stuck-at-0", "stuck-at-1"]),
    default=Target.fault_model,
    help="What happens to a bit.",
)
@faults.fault_options
@images.image_options_with(
    option(
        images.GROUP,
        "--preset",
        "presets",
        type=click.Choice([*images.PRESETS, TENSORFI]),
        multiple=True,
        help=f"{images.PRESET_HELP}; and {TENSORFI}, its three settings of faults as well, for --groups.",
    )
)
@option(
    GOAL,
    "--method",
    type=click.Choice([INJECTION, *vigor.METHODS]),
    default=INJECTION,
    help="Real faults; or what `onnxfi vigor` does, with its options in the place of these.",
)
@option(
    GOAL,
    "--plan",
    type=click.Choice(["adaptive", "exhaustive", "network", "layer", "data-unaware", "data-aware"]),
    default=Plan.kind,
    help="Which faults to try: until the precision is reached, all, or as a published plan says.",
)
@goal_options
@option(GOAL, "--budget", type=click.IntRange(min=1), metavar="N", help="Adaptive: stop after N trials all the same.")
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
@machine.machine_options
@option(
    machine.GROUP, "--scheduler", metavar="ADDRESS", help="A Dask scheduler, as tcp://host:8786, whose workers to use."
)
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
    bits.csv, channels.csv and confusion.csv.

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
    data = images.taken(options, _data_preset(options["presets"]))
    precision = Precision(options["precision"], options["layer_precision"], options["confidence"], options["budget"])
    plan = Plan(options["plan"], options["margin"], options["p"], options["shard"], options["seed"])
    where = Machine(
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
            machine=where,
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
