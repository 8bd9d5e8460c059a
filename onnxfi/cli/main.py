"""`onnxfi`: the group of verbs, and what becomes of an error: one sentence, and an exit code.

0    done
1    onnxfi refused: what was wrong, where, and what to do
2    the command line was wrong
130  stopped by ^C
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import click

import onnxfi
from onnxfi.cli.analyze import analyze
from onnxfi.cli.explain import explain
from onnxfi.cli.groups import groups
from onnxfi.cli.inject import inject
from onnxfi.cli.lists import faults
from onnxfi.cli.merge import merge
from onnxfi.cli.parity import parity
from onnxfi.cli.protect import protect
from onnxfi.cli.report import report
from onnxfi.cli.show import show
from onnxfi.cli.vigor import vigor
from onnxfi.engine.installed import check
from onnxfi.errors import OnnxfiError


class Verbs(click.Group):
    """Verbs in the order in which a newcomer meets them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(onnxfi.__version__, prog_name="onnxfi", message="%(prog)s %(version)s")
def cli() -> None:
    """Where is a trained network vulnerable to bit flips?

    onnxfi injects faults into an ONNX model, counts how many change its answers, and puts a confidence interval on
    every rate.

    \b
    Example:
      onnxfi analyze                                the bundled model and images
      onnxfi show model.onnx
      onnxfi analyze model.onnx --data images.npz
    """


for verb in (analyze, report, vigor, explain, parity, protect, show, inject, merge, faults, groups):
    cli.add_command(verb)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and leave the process with its exit code."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run the command line; its exit code."""
    try:
        check()
        code = cli.main(args=arguments, prog_name="onnxfi", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except OnnxfiError as error:
        return _refuse(error)
    except (click.Abort, KeyboardInterrupt) as stop:
        click.echo(str(stop.__cause__ or stop) or "Stopped.", err=True)
        return 130
    except BrokenPipeError:
        # Whoever read the output has gone; Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _refuse(error: OnnxfiError) -> int:
    """One sentence on stderr, whatever line breaks and control characters a file's names brought into it."""
    sentence = " ".join("".join(c if c.isprintable() or c.isspace() else "?" for c in str(error)).split())
    sentence += "" if sentence.endswith((".", "?")) else "."
    click.echo(f"{click.style('Error:', fg='red', bold=True)} {sentence}", err=True, color=_color())
    return 1


def _color() -> bool | None:
    return False if os.environ.get("NO_COLOR") else None
