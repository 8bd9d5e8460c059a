"""`onnxfi merge`."""

from __future__ import annotations

from pathlib import Path

import click

from onnxfi.cli.options import Command, option


@click.command(cls=Command)
@click.argument("shards", nargs=-1, required=True, type=click.Path(path_type=Path))
@option(
    "Options", "--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="The whole study's folder."
)
@option("Options", "--json", "as_json", is_flag=True, help="Print summary.json, and nothing else, to stdout.")
def merge(shards: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Join SHARDS, the folders of `onnxfi analyze --shard i/n`, into the study that they are parts of.

    \b
    Example:
      onnxfi merge part-1 part-2 part-3 --out whole
    """
    from onnxfi import api
    from onnxfi.cli.shown import shown

    shown(api.merge(shards, out), as_json)
