"""`onnxfi faults run`, and the line that shows it at work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onnxfi.cli.images import image_options, taken
from onnxfi.cli.options import Command, added, option, shard, size
from onnxfi.cli.progress import Progress
from onnxfi.study.list_settings import Meet
from onnxfi.study.settings import Machine

if TYPE_CHECKING:
    from onnxfi.study.replayed import Replayed
    from onnxfi.study.replaying import Step

MEET, MACHINE, OUTPUT = "List and model", "Machine", "Output"

written = added(
    option(
        OUTPUT,
        "--nan-rule",
        type=click.Choice(["onnxfi", "sfi", "keras-weight-injector"]),
        default="onnxfi",
        help="Whose masked and critical, NaNs and ties included; another rule runs nothing again.",
    ),
    option(
        OUTPUT,
        "--format",
        "form",
        type=click.Choice(["results", "keras-report"]),
        default="results",
        help="Of results.csv: eight columns, or a report as keras_weight_injector writes it.",
    ),
    option(OUTPUT, "--line-ends", type=click.Choice(["lf", "crlf"]), default="lf", help="Of results.csv."),
    option(OUTPUT, "--json", "as_json", is_flag=True, help="Print replay.json, and nothing else, to stdout."),
)
"""On a command that writes a replay's results."""


@click.command(cls=Command)
@click.argument("listed", metavar="LIST", type=click.Path(path_type=Path))
@click.argument("model", type=click.Path(path_type=Path))
@option(
    MEET,
    "--layout",
    "layout",
    type=click.Choice(["auto", "pytorch", "keras"]),
    default=Meet.form,
    help="The list's indices: (o, i, h, w), (h, w, i, o), or what fits.",
)
@option(
    MEET,
    "--match",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Pairs of layer names, PT,TF, where the list has the other framework's.",
)
@option(
    MEET,
    "--names-from",
    type=click.Path(path_type=Path),
    metavar="ONNX",
    help="A model that has the list's names; its weights are found in MODEL by their numbers.",
)
@image_options
@option(MACHINE, "--shard", type=shard, metavar="I/N", help="Only the i-th of n parts; see `onnxfi faults merge`.")
@option(MACHINE, "--fast", is_flag=True, help="Let ONNX Runtime optimise; else every fault is run exactly.")
@option(
    MACHINE,
    "--provider",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default=Machine.provider,
    help="Where ONNX Runtime runs; cuda needs --fast.",
)
@option(MACHINE, "--workers", type=click.IntRange(min=1), metavar="N", help="Processes.  [default: one a core]")
@option(MACHINE, "--scheduler", metavar="ADDRESS", help="A Dask scheduler, as tcp://host:8786, whose workers to use.")
@option(MACHINE, "--memory", type=size, metavar="SIZE", default="2GiB", help="For all processes together.")
@option(
    OUTPUT,
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The replay's folder.  [default: onnxfi-run/, named after list and question]",
)
@written
def run(listed: Path, model: Path, **options: Any) -> None:
    """Run every fault of LIST on all images, and count what each does.

    LIST is a CSV file of dnn-benchmarks, SFIadvancedmodels or keras_weight_injector, with results or without. Results
    that it has are compared with, fault by fault. ^C stops it; the same command goes on.

    \b
    Example:
      onnxfi faults run ResNet20_FL.csv resnet20.onnx --data cifar10_test.npz
      onnxfi faults run list.csv net.onnx --data images/ --shard 1/4 --out part-1
    """
    from onnxfi.api import faults as lists

    machine = Machine(
        exact=not options["fast"],
        provider=options["provider"],
        workers=options["workers"],
        scheduler=options["scheduler"],
        memory=options["memory"],
    )
    with Replaying() as progress:
        found = lists.run(
            listed,
            model,
            data=taken(options),
            meet=Meet(options["layout"], options["match"], options["names_from"]),
            machine=machine,
            shard=options["shard"],
            nan_rule=options["nan_rule"],
            out=options["out"],
            form=options["form"],
            line_ends=options["line_ends"],
            progress=progress.step,
        )
    shown(found, options["as_json"])


class Replaying(Progress):
    """The line of a replay."""

    def step(self, step: Step) -> None:
        """'1,024,000 of 3,000,000 trials, 1,600/s, 20 min left. Block 7 of 20'."""
        self.show(step.folder, step.done, words(step))


def words(step: Step) -> str:
    """The line for one step."""
    told = f"{step.done:,} of {step.planned:,} trials, {step.rate:,.0f}/s"
    if step.left is not None:
        told += f", {duration(step.left)} left"
    done, blocks = step.blocks
    return told if blocks == 1 else f"{told}. Images: block {min(done + 1, blocks)} of {blocks}"


def duration(seconds: float) -> str:
    """'40 s', '12 min', '3.5 h'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3_600:.1f} h"


def shown(found: Replayed, as_json: bool) -> None:
    """Print a replay's tables, or nothing but its object as JSON."""
    from onnxfi.report import replay, tables

    if as_json:
        click.echo(replay.to_json(found), nl=False)
        return
    console = tables.console()
    for block in replay.blocks(found):
        console.print(block)
    click.echo(f"\nReplay: {found.folder}, {replay.RESULTS} in it")
