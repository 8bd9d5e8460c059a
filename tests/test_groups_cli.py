"""`onnxfi groups` and `onnxfi report` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from onnxfi.cli.main import cli, run
from onnxfi.metrics.safety import load_groups


def _said(*arguments: str) -> str:
    result = CliRunner().invoke(cli, list(arguments))
    assert result.exit_code == 0, result.output
    assert max(map(len, result.output.splitlines())) <= 80 or "--json" in arguments or arguments[1] != "show"
    return result.output


def test_show_lists_and_tells() -> None:
    assert _said("groups", "show").split() == ["cifar10", "cifar100", "gtsrb", "imagenet"]
    shown = _said("groups", "show", "gtsrb")
    assert "Prohibitory" in shown and "nobody has published a grouping" in shown and "Priority in A" in shown
    assert _said("groups", "show", "imagenet")


def test_json_is_a_file_of_groups(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(_said("groups", "show", "cifar100", "--json"))
    assert load_groups(str(path)) == load_groups("cifar100")
    assert "100 classes in 8 groups, 40 of them in A." in _said("groups", "check", str(path))


def test_a_draft_is_good_as_it_is(tmp_path: Path) -> None:
    names, data, path = tmp_path / "names.txt", tmp_path / "data.npz", tmp_path / "draft.json"
    names.write_text("cat\ndog\n")
    np.savez(data, images=np.zeros((2, 4), np.float32), labels=np.array([0, 1]), classes=np.array(["cat", "dog"]))
    draft = _said("groups", "draft", "--labels", str(names))
    assert draft == _said("groups", "draft", "--data", str(data))
    path.write_text(draft)
    assert {group["supergroup"] for group in json.loads(draft)["groups"]} == {"B"}
    assert "2 classes in 2 groups, 0 of them in A." in _said("groups", "check", str(path))


def test_what_is_wrong_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.json").write_text("{}")
    for arguments in (["groups", "check", str(tmp_path / "bad.json")], ["groups", "draft"], ["report", str(tmp_path)]):
        assert run(arguments) == 1
        said = capsys.readouterr().err
        assert said.startswith("Error: ") and said.count("\n") == 1


def test_two_data_sets_are_a_wrong_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["analyze", "--preset", "cifar10", "--preset", "gtsrb"]) == 2
    assert "names two data sets, cifar10 and gtsrb" in capsys.readouterr().err
