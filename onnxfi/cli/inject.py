"""`onnxfi inject`."""

from __future__ import annotations

from pathlib import Path

import click

from onnxfi.cli.options import Command, option


@click.command(cls=Command)
@click.argument("model", type=click.Path(path_type=Path))
@option(
    "Options",
    "--fault",
    "faults",
    metavar="SPEC",
    multiple=True,
    required=True,
    help="TENSOR[i,j,...]:flip@30, :stuck0@B, :stuck1@B, :mask@0x..., :value@X, or @FILE.json; repeatable.",
)
@option("Options", "-o", "--output", type=click.Path(path_type=Path), required=True, help="The ONNX file to write.")
@option(
    "Options",
    "--baked",
    is_flag=True,
    help="Change stored weights in place, at the model's own opset, instead of adding nodes that do it at run time.",
)
def inject(model: Path, faults: tuple[str, ...], output: Path, baked: bool) -> None:
    """Write MODEL with faults in it, a whole ONNX file that any runtime runs.

    Faults in weights and activations become nodes of standard ops (opset 26). Bit 0 is the least significant; an
    activation's index leaves the batch out. @FILE.json is for names that hold brackets or colons.

    \b
    Example:
      onnxfi inject net.onnx --fault 'conv1.weight[3,0,2,1]:flip@30' -o bad.onnx
      onnxfi inject net.onnx --fault 'fc.bias[0]:stuck1@31' --baked -o bad.onnx
    """
    from onnxfi import api

    api.inject(model, faults, output, baked=baked)
