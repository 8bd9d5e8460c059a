"""A finished study on stdout: tables for people, or one object for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from onnxfi.api import Run


def shown(run: Run, as_json: bool) -> None:
    """Print the run's tables, or nothing but its summary as JSON."""
    from onnxfi.report import meaning_tables, tables

    if as_json:
        click.echo(run.summary.to_json(), nl=False)
        return
    console = tables.console()
    for block in tables.study(run.summary):
        console.print(block)
    if run.summary.meaning:
        for block in meaning_tables.blocks(run.summary.meaning):
            console.print(block)
    click.echo(f"\nStudy: {run.folder}, report.html in it")
