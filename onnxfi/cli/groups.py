"""`onnxfi groups`: helps to write groups of classes."""

from __future__ import annotations

from pathlib import Path

import click

from onnxfi.cli.options import Command, option


class Group(click.Group):
    """Its commands in the order in which they are used."""

    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=Group)
def groups() -> None:
    """Groups of classes, for safety-critical misclassification.

    A misclassification is safety-critical when it leaves its group and the right group is one of supergroup A. Every
    --groups takes one of the shipped groupings by name, or a file of your own.

    \b
    Example:
      onnxfi groups show gtsrb
      onnxfi groups draft --data images/ > mine.json
      onnxfi groups check mine.json
    """


@groups.command()
@click.argument("name", required=False, metavar="[NAME|FILE]")
@option("Options", "--json", "as_json", is_flag=True, help="Print the JSON form, and nothing else, to stdout.")
def show(name: str | None, as_json: bool) -> None:
    """The groups of NAME, shipped or a file of your own; without NAME which ones are shipped.

    \b
    Example:
      onnxfi groups show cifar10
      onnxfi groups show cifar10 --json > mine.json
    """
    from onnxfi.metrics.safety import load_groups, shipped
    from onnxfi.report import grouping, tables

    if name is None:
        for shipped_name in shipped():
            click.echo(shipped_name)
        return
    found = load_groups(name)
    if as_json:
        click.echo(grouping.to_json(found), nl=False)
        return
    console = tables.console()
    for block in grouping.blocks(found):
        console.print(block)


@groups.command()
@click.argument("file", type=click.Path(path_type=Path))
def check(file: Path) -> None:
    """Whether FILE holds groups: every class in one of them, and each of them in A or B.

    \b
    Example:
      onnxfi groups check mine.json
    """
    from onnxfi.metrics.safety import load_groups

    found = load_groups(str(file))
    critical = sum(len(group.classes) for group in found.groups if group.supergroup == "A")
    click.echo(f"{file} is good: {len(found.classes)} classes in {len(found.groups)} groups, {critical} of them in A.")


@groups.command()
@option("Options", "--data", type=click.Path(path_type=Path), multiple=True, help="Images that name their classes.")
@option("Options", "--labels", type=click.Path(path_type=Path), help="Or a text file with a class name on each line.")
def draft(data: tuple[Path, ...], labels: Path | None) -> None:
    """Print a file of groups to begin with: each class in a group of its own, all of them in B.

    \b
    Example:
      onnxfi groups draft --data images/ > mine.json
      onnxfi groups draft --labels classes.txt > mine.json
    """
    from onnxfi.report import grouping
    from onnxfi.study.labels import class_names

    click.echo(grouping.to_json(grouping.draft(class_names(data, labels))), nl=False)
