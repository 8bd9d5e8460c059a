"""The options that say where it runs: fields of onnxfi.study.settings.Machine."""

from __future__ import annotations

import click

from onnxfi.cli.options import added, option, size
from onnxfi.study.settings import Machine

GROUP = "Machine"

machine_options = added(
    option(GROUP, "--exact", is_flag=True, help="Bit-identical to the whole faulty model; slower."),
    option(
        GROUP,
        "--provider",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default=Machine.provider,
        help="Where ONNX Runtime runs.",
    ),
    option(GROUP, "--workers", type=click.IntRange(min=1), metavar="N", help="Processes.  [default: one a core]"),
    option(GROUP, "--memory", type=size, metavar="SIZE", default="2GiB", help="For all processes together."),
)
"""On a command that takes them by the names of the record's fields; `scheduler` is not among them."""
