"""What the verbs' options have in common: groups in the help, and how sizes, numbers and shards are written."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "ki": 2**10, "mi": 2**20, "gi": 2**30}


class Option(click.Option):
    """An option that stands under a heading of the help."""

    def __init__(self, *args: Any, group: str = "Options", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group


class Command(click.Command):
    """A command whose help shows its options group by group, in the order in which they were written."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        last = "Help"
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record and isinstance(parameter, click.Option):
                groups.setdefault(getattr(parameter, "group", last), []).append(record)
        groups[last] = groups.pop(last)
        for name, records in groups.items():
            with formatter.section(name):
                formatter.write_dl(records)


def option(group: str, *declarations: str, **settings: Any) -> Callable[[Function], Function]:
    """`click.option` under the heading `group`, its default shown unless told otherwise."""
    settings.setdefault("show_default", settings.get("default") is not None and not settings.get("is_flag"))
    return click.option(*declarations, cls=Option, group=group, **settings)


def added(*options: Decorator) -> Decorator:
    """Several options as one decorator; the help shows them in this order."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for one in reversed(options):
            command = one(command)
        return command

    return add


def size(text: str) -> int:
    """Bytes, from '2GiB', '512MiB', '2GB' or a plain number."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]i?|)b?", text.strip().lower())
    if not found:
        raise click.BadParameter(f"{text!r} is not a size such as 2GiB or 512MiB.")
    return int(float(found[1]) * _UNITS[found[2]])


def numbers(text: str) -> tuple[float, ...]:
    """One number, or one a channel with commas between."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a number, or numbers with commas between.") from None


def pixels(text: str) -> int | tuple[int, int]:
    """'224' or 'HEIGHTxWIDTH'."""
    found = re.fullmatch(r"(\d+)(?:x(\d+))?", text.strip().lower())
    if not found:
        raise click.BadParameter(f"{text!r} is neither pixels such as 224 nor HEIGHTxWIDTH.")
    return (int(found[1]), int(found[2])) if found[2] else int(found[1])


def shard(text: str) -> tuple[int, int]:
    """(i, n) from 'i/n'."""
    found = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    if not found:
        raise click.BadParameter(f"{text!r} is not i/n, such as 1/4.")
    return int(found[1]), int(found[2])
