"""`onnxfi protect`: options are the fields of onnxfi.protect.ask.Remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from onnxfi.cli.images import image_options, taken
from onnxfi.cli.options import Command, option, size
from onnxfi.protect.ask import KINDS, Remedy, budget
from onnxfi.study.settings import Machine

GUARDS, DEPTH, MACHINE, OUTPUT = "Guards", "How sure", "Machine", "Output"


@click.command(cls=Command)
@click.argument("model", required=False, type=click.Path(path_type=Path))
@option(
    GUARDS,
    "--budget",
    metavar="COST",
    help="Most that guards may cost: 3% of an inference's time, 4KiB of memory, or both as 3%,4KiB.  [default: 3% for "
    "live guards of weights, else none]",
)
@option(
    GUARDS,
    "--guards",
    metavar="KINDS",
    default=",".join(KINDS),
    help="mask: bits that a row of weights shares are put back. check: a weight beyond its row's range becomes 0. "
    "vote: the smallest tensors in three copies. clip: an activation beyond its range becomes 0, or the bound.",
)
@option(
    GUARDS,
    "--weights-at",
    "at",
    type=click.Choice(["auto", "load", "live"]),
    default=Remedy.at,
    help="Guards of weights act when the runtime loads the model, or with every inference; auto: live where the budget "
    "allows it.",
)
@option(GUARDS, "--headroom", type=float, default=Remedy.headroom, help="Times the largest activation seen.")
@option(
    GUARDS,
    "--ranges",
    metavar="DIR",
    help="Bounds of activations from the ranges that onnxfi vigor --out kept there, instead of --headroom.",
)
@image_options
@option(DEPTH, "--calibration", type=float, default=Remedy.calibration, help="Share of images for bounds and plan.")
@option(DEPTH, "--precision", type=float, default=Remedy.precision, help="Half-width of each MVF without guards.")
@option(DEPTH, "--confidence", type=float, default=Remedy.confidence, help="Of every interval.")
@option(
    DEPTH, "--trials", type=click.IntRange(min=1), default=Remedy.trials, help="Faults of each target, about, at most."
)
@option(DEPTH, "--fit-per-mbit", type=float, default=Remedy.fit_per_mbit, help="Raw rate of upsets, in FIT per Mbit.")
@option(
    DEPTH, "--batch", type=click.IntRange(min=1), default=Remedy.batch, help="Images a run, where time is measured."
)
@option(DEPTH, "--seed", type=click.IntRange(min=0), metavar="N", default=Remedy.seed, help="Of every draw.")
@option(MACHINE, "--exact", is_flag=True, help="Bit-identical to the whole faulty model; slower.")
@option(MACHINE, "--workers", type=click.IntRange(min=1), metavar="N", help="Processes.  [default: one a core]")
@option(MACHINE, "--memory", type=size, metavar="SIZE", default="2GiB", help="For all processes together.")
@option(
    OUTPUT,
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The hardened model.  [default: MODEL-hardened.onnx here]",
)
@option(
    OUTPUT,
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="For protect.html, protect.json, plan.csv, layers.csv, recipe.json.  [default: onnxfi-run/MODEL-protect]",
)
@option(
    OUTPUT, "--json", "as_json", is_flag=True, help="Print the object of protect.json, and nothing else, to stdout."
)
def protect(model: Path | None, **options: Any) -> None:
    """Write MODEL with guards against bit flips, and prove what they bring.

    It measures what guards of stored weights and of activations would leave and cost, takes the best that the budget
    allows, writes them into the graph with standard ops, and analyses the hardened model again beside the original: the
    same faults, on images that no bound was taken from. Without MODEL it takes the bundled model and images.

    \b
    Example:
      onnxfi protect net.onnx --data test.npz --preset cifar10 -o hardened.onnx
      onnxfi protect net.onnx --data test.npz --guards mask --weights-at live
      onnxfi protect net.onnx --data test.npz --budget 3%,16KiB --json
    """
    from onnxfi import api
    from onnxfi.cli.guarding import Guarding
    from onnxfi.report import protect_tables, tables
    from onnxfi.report.protect import to_json

    latency, most = budget(options["budget"]) if options["budget"] else (None, None)
    kinds = tuple(kind.strip() for kind in options["guards"].split(",") if kind.strip())
    same = (
        "at",
        "headroom",
        "ranges",
        "calibration",
        "precision",
        "confidence",
        "trials",
        "fit_per_mbit",
        "batch",
        "seed",
    )
    remedy = Remedy(guards=kinds, latency=latency, size=most, **{name: options[name] for name in same})
    machine = Machine(exact=options["exact"], provider="cpu", workers=options["workers"], memory=options["memory"])
    with Guarding() as progress:
        done = api.protect(
            model,
            data=taken(options),
            remedy=remedy,
            machine=machine,
            output=options["output"],
            out=options["out"],
            progress=progress,
        )
    if options["as_json"]:
        click.echo(to_json(done.facts), nl=False)
        return
    console = tables.console()
    for block in protect_tables.blocks(done.facts):
        console.print(block)
    click.echo(f"Report: {done.folder}, protect.html in it")
