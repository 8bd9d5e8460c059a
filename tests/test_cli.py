"""The command line, whatever the verb: help, usage, exit codes, one sentence for an error, ^C, a reader that leaves."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from command_line import error

from onnxfi.bundled import data_path, model_path
from onnxfi.cli.main import cli, run
from onnxfi.engine import installed
from onnxfi.errors import EngineError

VERBS = list(cli.commands)


def test_the_verbs_stand_in_the_help() -> None:
    shown = CliRunner().invoke(cli, ["--help"]).output
    assert {"analyze", "show", "inject", "merge"} <= set(VERBS)
    assert all(re.search(rf"^  {verb} ", shown, re.MULTILINE) for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_help_fits_and_has_an_example(verb: str) -> None:
    result = CliRunner().invoke(cli, [verb, "--help"])
    assert result.exit_code == 0
    assert f"Example:\n    onnxfi {verb}" in result.output
    assert max(map(len, result.output.splitlines())) <= 80


def test_every_option_of_analyze_stands_in_a_group() -> None:
    for parameter in cli.commands["analyze"].params:
        assert parameter.param_type_name == "argument" or parameter.group, parameter.name


def test_options_and_records_say_the_same() -> None:
    """Choices are written down twice, in the records' types and in the options: they must not part."""
    from typing import get_args

    from onnxfi.study import settings
    from onnxfi.study.dataset import PRESETS
    from onnxfi.vigor.settings import Method

    choices = {p.name: set(p.type.choices) for p in cli.commands["analyze"].params if hasattr(p.type, "choices")}
    assert choices == {
        "target": set(get_args(settings.TargetKind)),
        "activation": set(get_args(settings.ActivationKind)),
        "parameters": set(get_args(settings.ParameterKind)),
        "fault_model": set(get_args(settings.FaultModel)),
        "presets": set(PRESETS) | {"tensorfi+"},
        "method": {"injection", *get_args(Method)},
        "plan": set(get_args(settings.PlanKind)),
        "p": set(get_args(settings.PStrategy)),
        "provider": set(get_args(settings.Provider)),
    }
    assert set(get_args(settings.Preset)) == set(PRESETS)


@pytest.mark.parametrize(
    ("option", "value", "parsed"),
    [
        ("memory", "2GiB", 2 * 2**30),
        ("memory", "512 MiB", 512 * 2**20),
        ("memory", "1.5GB", 1_500_000_000),
        ("resize", "224", 224),
        ("crop", "32x48", (32, 48)),
        ("mean", "0.5,0.25", (0.5, 0.25)),
        ("shard", "2/4", (2, 4)),
    ],
)
def test_values(option: str, value: str, parsed: object) -> None:
    from onnxfi.cli import options

    parsers = {"memory": "size", "resize": "pixels", "crop": "pixels", "mean": "numbers", "shard": "shard"}
    assert getattr(options, parsers[option])(value) == parsed


@pytest.mark.parametrize(
    "arguments",
    [
        ["analyse"],
        ["analyze", "--memory", "much"],
        ["analyze", "--target", "biases"],
        ["analyze", "--shard", "2"],
        ["analyze", "--budget", "0"],
        ["inject", "model.onnx"],
        ["merge"],
    ],
)
def test_wrong_usage_is_exit_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and "Error:" in err


@pytest.mark.parametrize("verb", ["show", "analyze"])
def test_a_file_that_is_no_model(verb: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    assert "model.onnx" in error(capsys, verb, str(tmp_path / "model.onnx"))


def test_an_error_is_one_line_whatever_a_name_holds(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    said = error(capsys, "show", str(tmp_path / "a\nb\x1b[31m.onnx"))
    assert "\x1b" not in said


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "onnxfi", *arguments]


def test_version() -> None:
    found = subprocess.run(command("--version"), capture_output=True, text=True, check=True)
    assert re.fullmatch(r"onnxfi \d+\.\d+\.\d+\n", found.stdout)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for a child alone")
def test_stopped_by_ctrl_c_it_says_how_to_go_on(tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = command("analyze", "--precision", "0.00001", "--workers", "1", "--out", str(out))
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 60
        while not (out / "journal.sqlite").exists() and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        said, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == "" and "Traceback" not in err
    assert "the same command goes on from there." in err
    assert not list(out.glob(".work-*"))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no broken pipes")
def test_a_reader_that_leaves_is_no_error() -> None:
    with subprocess.Popen(
        command("show", str(model_path())), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode in (0, 1)  # rich and click end with 1


def test_one_onnx_runtime_is_well() -> None:
    installed.check(("onnxruntime",))


@pytest.mark.parametrize("found", [("onnxruntime", "onnxruntime-gpu"), ("onnxruntime", "onnxruntime-directml")])
def test_two_onnx_runtimes_are_said_with_the_mend(found: tuple[str, ...]) -> None:
    with pytest.raises(EngineError, match=r"installed over each other.*uninstall -y onnxruntime onnxruntime-.*install"):
        installed.check(found)


def test_no_onnx_runtime(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(installed, "builds", lambda: ())
    assert "ONNX Runtime is not installed" in error(capsys, "show", str(data_path()))
