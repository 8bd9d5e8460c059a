"""`onnxfi explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from onnxfi.cli.images import image_options, taken
from onnxfi.cli.options import Command, option


@click.command(cls=Command)
@click.argument("site")
@click.argument("model", required=False, type=click.Path(path_type=Path))
@image_options
@option("Images", "--seed", type=click.IntRange(min=0), metavar="N", default=0, help="Of the subset of --images.")
def explain(site: str, model: Path | None, **options: Any) -> None:
    """Why is SITE of MODEL vulnerable: its range, its bits, its errors.

    SITE is TENSOR[i,j,...], a parameter or an activation; an activation's index leaves the batch out. Every bit is run
    on every image. Without MODEL it takes the bundled model and images.

    \b
    Example:
      onnxfi explain 'conv1.weight[3,0,1,1]'
      onnxfi explain 'relu_3[5,2,2]' resnet8.onnx --data images.npz
    """
    from onnxfi import api
    from onnxfi.report import explanation, tables

    found = api.explain(site, model, data=taken(options), seed=options["seed"])
    console = tables.console()
    for block in explanation.blocks(found):
        console.print(block)
