"""`onnxfi faults`: fault lists, drawn, run, joined and converted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onnxfi.cli.options import Command, option
from onnxfi.cli.replaying import run, shown, written
from onnxfi.study.list_settings import Draw

if TYPE_CHECKING:
    from onnxfi.faults.listing import FaultList

DRAW, OUTPUT = "Draw", "Output"


class Group(click.Group):
    """Its commands in the order in which they are used."""

    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=Group)
def faults() -> None:
    """Fault lists, as dnn-benchmarks and its kin publish them: one bit flip a row.

    \b
    Example:
      onnxfi faults draw resnet20.onnx -o list.csv
      onnxfi faults run list.csv resnet20.onnx --data images.npz
      onnxfi faults convert list.csv --match ResNet20_match.txt -o keras.csv
    """


@faults.command(cls=Command)
@click.argument("model", type=click.Path(path_type=Path))
@option(
    DRAW,
    "--plan",
    type=click.Choice(["network", "layer", "data-unaware", "data-aware"]),
    default=Draw.plan,
    help="How many faults, and spread over what: as the published statistical plans.",
)
@option(DRAW, "--margin", type=float, default=Draw.margin, help="Error margin, a fraction.")
@option(DRAW, "--confidence", type=float, default=Draw.confidence, help="Of that margin.")
@option(
    DRAW,
    "--p",
    type=click.Choice(["weights", "date23-table"]),
    default=Draw.p,
    help="Data-aware: p of each bit computed from the weights, or as published.",
)
@option(DRAW, "--seed", type=click.IntRange(min=0), metavar="N", default=Draw.seed, help="Of the draw.")
@option(
    DRAW,
    "--generator",
    type=click.Choice(["onnxfi", "published"]),
    default=Draw.generator,
    help="published: row for row the lists of dnn-benchmarks, from their seed, which is 42.",
)
@option(
    DRAW,
    "--layout",
    type=click.Choice(["auto", "pytorch", "keras"]),
    default=Draw.form,
    help="Indices as (o, i, h, w) or (h, w, i, o).  [auto: as the framework that MODEL is from]",
)
@option(OUTPUT, "-o", "--output", type=click.Path(path_type=Path), required=True, help="The list to write.")
@option(OUTPUT, "--line-ends", type=click.Choice(["lf", "crlf"]), default="lf", help="Of the list.")
def draw(model: Path, output: Path, **options: Any) -> None:
    """Draw a list of flips of the bits of MODEL's weights.

    \b
    Example:
      onnxfi faults draw resnet20.onnx -o list.csv
      onnxfi faults draw net.onnx --generator published --seed 42 -o list.csv
      onnxfi faults draw net.onnx --plan data-aware --margin 0.02 -o list.csv
    """
    from onnxfi.api import faults as lists

    asked = Draw(
        options["plan"],
        options["margin"],
        options["confidence"],
        options["p"],
        options["seed"],
        options["generator"],
        options["layout"],
    )
    drawn = lists.draw(model, asked, out=output, line_ends=options["line_ends"])
    _told(output, drawn)


faults.add_command(run)


@faults.command(cls=Command)
@click.argument("shards", nargs=-1, required=True, type=click.Path(path_type=Path))
@option(OUTPUT, "--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="The whole replay.")
@written
def merge(shards: tuple[Path, ...], out: Path, **options: Any) -> None:
    """Join SHARDS, the folders of `onnxfi faults run --shard i/n`.

    \b
    Example:
      onnxfi faults merge part-1 part-2 --out whole
    """
    from onnxfi.api import faults as lists

    found = lists.merge(shards, out, nan_rule=options["nan_rule"], form=options["form"], line_ends=options["line_ends"])
    shown(found, options["as_json"])


@faults.command(cls=Command)
@click.argument("listed", metavar="LIST", type=click.Path(path_type=Path))
@option(
    "Words",
    "--to",
    type=click.Choice(["auto", "pytorch", "keras"]),
    default="auto",
    help="Whose indices and names: auto is the other one than LIST's.",
)
@option("Words", "--match", type=click.Path(path_type=Path), metavar="FILE", help="Pairs of layer names, PT,TF.")
@option(
    "Words",
    "--models",
    nargs=2,
    type=click.Path(path_type=Path),
    metavar="ONNX ONNX",
    help="LIST's model and the other; layers are matched by the numbers in their weights.",
)
@option(OUTPUT, "-o", "--output", type=click.Path(path_type=Path), required=True, help="The list to write.")
@option(
    OUTPUT,
    "--format",
    "form",
    type=click.Choice(["list", "results", "keras-report"]),
    help="Four columns, eight, or a report.  [default: as LIST]",
)
@option(OUTPUT, "--line-ends", type=click.Choice(["lf", "crlf"]), default="lf", help="Of the list.")
def convert(listed: Path, output: Path, **options: Any) -> None:
    """Write LIST in the other framework's words: PyTorch's or Keras' layer names and indices.

    \b
    Example:
      onnxfi faults convert torch.csv --match ResNet20_match.txt -o keras.csv
      onnxfi faults convert list.csv --models torch.onnx keras.onnx -o keras.csv
    """
    from onnxfi.api import faults as lists

    found = lists.convert(
        listed,
        to=options["to"],
        match=options["match"],
        models=options["models"],
        out=output,
        form=options["form"],
        line_ends=options["line_ends"],
    )
    _told(output, found)


def _told(output: Path, written: FaultList) -> None:
    click.echo(f"{output}: {len(written.entries):,} faults in {len(written.layers):,} layers")
    if written.uncovered:
        some = ", ".join(written.uncovered[:3]) + (", ..." if len(written.uncovered) > 3 else "")
        click.echo(
            f"Layers without a row: {len(written.uncovered):,} ({some}); keras_weight_injector refuses such a list.",
            err=True,
        )
