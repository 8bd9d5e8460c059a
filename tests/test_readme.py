"""The README keeps its word: its commands parse, its files exist, its Python runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from converters import __main__ as converters
from onnxfi.cli.main import cli

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, flags=re.DOTALL)
CONSOLE = "".join(text for kind, text in BLOCKS if kind == "console").replace("\\\n>", "")
COMMANDS = [line[2:] for line in CONSOLE.splitlines() if line[:2] == "$ "]
CONVERTERS = "python -m converters "
SHELL = [line for line in COMMANDS if not line.startswith(("onnxfi ", CONVERTERS))]


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("onnxfi ")])
def test_every_command_parses(line: str) -> None:
    """Unknown verbs, options and values are usage errors; nothing is run."""
    _, verb, *arguments = shlex.split(line)
    context = click.Context(cli)
    command = cli.get_command(context, verb)
    assert command is not None, verb
    command.make_context(verb, arguments, parent=context)


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith(CONVERTERS)])
def test_every_conversion_parses(line: str) -> None:
    converters._parser().parse_args(shlex.split(line.removeprefix(CONVERTERS)))


def test_two_commands_to_begin_with() -> None:
    assert BLOCKS[0][1].splitlines() == [f"$ {line}" for line in SHELL]
    assert len(SHELL) == 2
    assert "onnxfi analyze" in SHELL[0]
    assert "pytest" in SHELL[1]


def test_every_verb_is_shown() -> None:
    verbs = set(cli.list_commands(click.Context(cli)))
    assert verbs <= set(re.findall(r"onnxfi (\w+)", README))


def test_the_map_of_the_house_is_right() -> None:
    drawing = next(text for kind, text in BLOCKS if kind == "" and "the tool;" in text)
    folder = Path()
    for line in drawing.splitlines():
        name = line.split()[0]
        folder = folder if line.startswith(" ") else Path(name)
        place = folder / name if line.startswith(" ") else folder
        assert (ROOT / place).exists(), place
    rooms = {path.name for path in (ROOT / "onnxfi").iterdir() if (path / "__init__.py").exists()}
    assert rooms <= set(re.findall(r"(\w+)/", drawing))


def test_python_example_runs_but_for_its_files() -> None:
    """The example is compiled, and its imports and calls are checked against the real signatures."""
    source = next(text for kind, text in BLOCKS if kind == "python")
    names: dict[str, object] = {}
    imports = [line for line in source.splitlines() if line.startswith("from ")]
    exec("\n".join(imports), names)
    call = re.search(r"analyze\((.*)\)", source)
    assert call is not None
    names["bound"] = __import__("inspect").signature(names["analyze"]).bind  # type: ignore[arg-type]
    exec(f"bound({call[1]})", names)


def test_files_that_are_named_exist() -> None:
    for named in re.findall(r"`((?:onnxfi|tests|models|converters)/[\w/.]+)`", README):
        assert (ROOT / named).exists(), named
