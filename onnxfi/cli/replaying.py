"""`onnxfi faults run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onnxfi.cli.images import image_options, taken
from onnxfi.cli.options import Command, added, option, shard, size
from onnxfi.study.list_settings import Meet
from onnxfi.study.settings import Machine

if TYPE_CHECKING:
    from onnxfi.study.replayed import Replayed

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
    from onnxfi.cli.replay_line import Replaying

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
