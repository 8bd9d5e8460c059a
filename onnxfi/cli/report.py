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
@option(
    "Options",
    "--groups",
    metavar="NAME|FILE",
    help="Safety-critical misclassification by groups of classes: see `onnxfi groups`.",
)
@option(
    "Options", "--fit-per-mbit", type=float, metavar="R", help="Failures in time, from R FIT of raw upsets per Mbit."
)
def report(runs: tuple[Path, ...], out: Path | None, groups: str | None, fit_per_mbit: float | None) -> None:
    """Write a study's page again, or one page that compares RUNS.

    RUNS are folders of studies, finished or not, or of `onnxfi vigor --out`. Nothing is run: pages come from journals,
    and summary.json and the tables are written again, too. Groups and rates that are not given are taken as the last
    time.

    \b
    Example:
      onnxfi report onnxfi-run/resnet20-1a2b3c4d --groups cifar10
      onnxfi report run-a run-b run-c --out models.html
      onnxfi report run-a run-a/vigor
    """
    from onnxfi import api

    click.echo(api.write_report(runs, out, groups=groups, fit_per_mbit=fit_per_mbit))
