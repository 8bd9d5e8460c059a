"""`onnxfi report`."""

from __future__ import annotations

from pathlib import Path

import click

from onnxfi.cli.options import Command, option


@click.command(cls=Command)
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@option(
    "Options",
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The page.  [default: report.html in RUN, or here for several]",
)
@option("Options", "--groups", metavar="NAME|FILE", help="Groups for safety-critical misclassification.")
@option("Options", "--fit-per-mbit", type=float, metavar="R", help="Raw rate of bit upsets: adds failures in time.")
def report(runs: tuple[Path, ...], out: Path | None, groups: str | None, fit_per_mbit: float | None) -> None:
    """Write the page of a study again, or one that compares several RUNS, from their journals alone.

    Groups and rates that are not given are taken as the last time. summary.json and the tables are written again, too.

    \b
    Example:
      onnxfi report onnxfi-run/resnet20-1a2b3c4d --groups cifar10
      onnxfi report run-a run-b run-c --out models.html
    """
    from onnxfi import api

    click.echo(api.write_report(runs, out, groups=groups, fit_per_mbit=fit_per_mbit))
