"""`onnxfi faults`: lists drawn, run, joined and converted from a shell."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import click
import listed_nets
import pytest
from click.testing import CliRunner

from onnxfi.cli.lists import faults
from onnxfi.cli.main import cli, run
from onnxfi.cli.replay_line import duration, words
from onnxfi.faults import forms
from onnxfi.faults.listing import read_list
from onnxfi.study import list_settings
from onnxfi.study.replaying import Step


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    listed_nets.pytorch(folder / "pytorch.onnx")
    listed_nets.keras(folder / "keras.onnx")
    listed_nets.images(folder / "images.npz")
    assert run(["faults", "draw", str(folder / "pytorch.onnx"), "--margin", "0.1", "-o", str(folder / "list.csv")]) == 0
    return folder


def arguments(room: Path, out: Path, *more: str) -> list[str]:
    where = [str(room / "list.csv"), str(room / "pytorch.onnx"), "--data", str(room / "images.npz"), "--out", str(out)]
    return ["faults", "run", *where, "--workers", "1", *more]


@pytest.mark.parametrize("verb", list(faults.commands))
def test_help_fits_and_has_an_example(verb: str) -> None:
    result = CliRunner().invoke(cli, ["faults", verb, "--help"])
    assert result.exit_code == 0
    assert f"Example:\n    onnxfi faults {verb}" in result.output
    assert max(map(len, result.output.splitlines())) <= 80


def test_options_and_records_say_the_same() -> None:
    def choices(verb: str, option: str) -> tuple[str, ...]:
        found = next(p for p in faults.commands[verb].params if option in p.opts)
        assert isinstance(found.type, click.Choice)
        return tuple(found.type.choices)

    assert choices("draw", "--plan") == get_args(list_settings.ListPlan)
    assert choices("draw", "--generator") == get_args(list_settings.Generator)
    assert choices("draw", "--p") == get_args(list_settings.KnownP)
    assert choices("run", "--nan-rule") == choices("merge", "--nan-rule") == get_args(forms.NanRule)
    assert choices("convert", "--format") == get_args(forms.Format) == ("list", *choices("run", "--format"))
    for verb, option in (("draw", "--layout"), ("run", "--layout"), ("convert", "--to")):
        assert choices(verb, option) == get_args(forms.Form)
    for verb in ("draw", "run", "merge", "convert"):
        assert choices(verb, "--line-ends") == get_args(forms.LineEnds)


def test_run_tells_the_counts_and_writes_them(room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments(room, tmp_path / "a")) == 0
    out = capsys.readouterr().out
    assert "3 layers found by the names of initializers; indices as pytorch has them" in out
    assert "each fault on 12 images (rule: onnxfi)" in out and "\ncomplete\n" in out
    assert max(map(len, out.splitlines())) <= 80 + len(str(tmp_path))
    assert run(arguments(room, tmp_path / "a", "--json")) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((tmp_path / "a/replay.json").read_text())
    rows = read_list(tmp_path / "a/results.csv").entries
    assert told["done"] == told["faults"] == len(rows) == len(read_list(room / "list.csv").entries)


def test_shards_merge_from_the_shell(room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for part in ("1", "2"):
        assert run(arguments(room, tmp_path / part, "--shard", f"{part}/2")) == 0
    assert "NOT complete" in capsys.readouterr().out
    assert run(["faults", "merge", str(tmp_path / "1"), str(tmp_path / "2"), "--out", str(tmp_path / "both")]) == 0
    assert run(arguments(room, tmp_path / "whole")) == 0
    assert (tmp_path / "both/results.csv").read_bytes() == (tmp_path / "whole/results.csv").read_bytes()


def test_convert_there_and_back_is_the_same_file(room: Path, tmp_path: Path) -> None:
    here, there = str(room / "pytorch.onnx"), str(room / "keras.onnx")
    first, again = tmp_path / "keras.csv", tmp_path / "again.csv"
    assert run(["faults", "convert", str(room / "list.csv"), "--models", here, there, "-o", str(first)]) == 0
    assert run(["faults", "convert", str(first), "--models", there, here, "-o", str(again)]) == 0
    assert again.read_bytes() == (room / "list.csv").read_bytes() != first.read_bytes()


def test_a_list_that_leaves_layers_out_says_so(room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = (room / "list.csv").read_text().splitlines(keepends=True)
    (tmp_path / "some.csv").write_text("".join(row for row in rows if "body.depth" not in row))
    models = [str(room / "pytorch.onnx"), str(room / "keras.onnx")]
    assert (
        run(["faults", "convert", str(tmp_path / "some.csv"), "--models", *models, "-o", str(tmp_path / "k.csv")]) == 0
    )
    out, err = capsys.readouterr()
    assert "in 2 layers" in out
    assert err == ("Layers without a row: 1 (depthwise_conv2d); keras_weight_injector refuses such a list.\n")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--shard", "3/2"], "--shard is 3/2; give i/n with i from 1 to n."),
        (["--provider", "cuda"], "--provider"),
        (["--names-from", "missing.onnx", "--match", "missing.txt"], "missing.txt: the match file cannot be read"),
    ],
)
def test_a_refusal_is_one_sentence(
    room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], says: str
) -> None:
    assert run(arguments(room, tmp_path / "a", *more)) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("Error: ") and err.count("\n") == 1 and says in err, err


def units(folder: Path) -> int:
    """Units that a running replay has written down."""
    if not (folder / "journal.sqlite").exists():
        return 0
    with sqlite3.connect(folder / "journal.sqlite") as database:
        try:
            return int(database.execute("SELECT COUNT(*) FROM units").fetchone()[0])
        except sqlite3.OperationalError:  # not laid out yet
            return 0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")
def test_killed_and_stopped_it_ends_with_the_same_file(room: Path, tmp_path: Path) -> None:
    many = tmp_path / "list.csv"
    assert run(["faults", "draw", str(room / "pytorch.onnx"), "--margin", "0.02", "-o", str(many)]) == 0
    where = [str(many), str(room / "pytorch.onnx"), "--data", str(room / "images.npz"), "--workers", "1"]
    command = [sys.executable, "-m", "onnxfi", "faults", "run", *where, "--out"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for blow in (signal.SIGKILL, signal.SIGINT):
        before, deadline = units(tmp_path / "a"), time.monotonic() + 60
        with subprocess.Popen([*command, str(tmp_path / "a")], env=environment, stderr=subprocess.PIPE) as process:
            while units(tmp_path / "a") == before and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
            process.send_signal(blow)
            _, err = process.communicate(timeout=60)
        assert process.returncode == (130 if blow == signal.SIGINT else -signal.SIGKILL)
        if blow == signal.SIGINT:
            assert b"the same command goes on from there." in err
    assert run([*command[3:], str(tmp_path / "a")]) == 0
    assert run([*command[3:], str(tmp_path / "b")]) == 0
    assert (tmp_path / "a/results.csv").read_bytes() == (tmp_path / "b/results.csv").read_bytes()


def test_the_line_tells_what_is_left() -> None:
    step = Step(Path("r"), 1_000_000, 3_000_000, (500_000, 250.0), (6, 20))
    assert words(step) == "1,000,000 of 3,000,000 trials, 2,000/s, 17 min left. Images: block 7 of 20"
    assert words(Step(Path("r"), 0, 10, (0, 0.0), (0, 1))) == "0 of 10 trials, 0/s"
    assert [duration(s) for s in (40, 700, 9_000)] == ["40 s", "12 min", "2.5 h"]
