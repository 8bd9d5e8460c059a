"""`onnxfi show`."""

from __future__ import annotations

from pathlib import Path

import click

from onnxfi.cli.options import Command, option


@click.command(cls=Command)
@click.argument("model", type=click.Path(path_type=Path))
@option("Options", "--output", metavar="NAME", help="The output to look at, where the model has several.")
@option("Options", "--unshare", is_flag=True, help="Split initializers that several nodes read.")
@option("Options", "--json", "as_json", is_flag=True, help="Print one JSON object, and nothing else, to stdout.")
def show(model: Path, output: str | None, unshare: bool, as_json: bool) -> None:
    """What MODEL holds, layer by layer, and what of it can be injected.

    \b
    Example:
      onnxfi show resnet20.onnx
      onnxfi show resnet20.onnx --json
    """
    from onnxfi import api
    from onnxfi.report import anatomy, tables

    found = api.show(model, output=output, unshare=unshare)
    if as_json:
        click.echo(found.to_json(), nl=False)
        return
    console = tables.console()
    for block in anatomy.blocks(found):
        console.print(block)
