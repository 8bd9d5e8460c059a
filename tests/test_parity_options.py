"""What else parity can be asked: fault lists, other types, plans and images; its command line, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import twins as t
from click.testing import CliRunner
from parity_room import FEW, KERAS, ONE, W, furnished

from onnxfi import api
from onnxfi.api import faults
from onnxfi.cli.main import cli, run
from onnxfi.parity.run import A, B
from onnxfi.parity.settings import Watch
from onnxfi.study.settings import Data, Machine, Plan, Precision


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return furnished(tmp_path_factory.mktemp("parity"))


@pytest.fixture(scope="module")
def listed(room: Path) -> Path:
    """A drawn fault list of the first network."""
    faults.draw(room / "a.onnx", faults.Draw(margin=0.05), out=room / "list.csv")
    return room / "list.csv"


def test_a_list_counts_as_each_model_alone_does(room: Path, listed: Path) -> None:
    """Against `faults run` in the first model, and in the second one too, by the rows' own counts."""
    data = Data((room / "x.npz",))
    done = api.parity(room / "a.onnx", room / "other.onnx", data=data, faults=listed, machine=ONE, out=room / "listed")
    alone = faults.run(listed, room / "a.onnx", data=data, machine=ONE, out=room / "alone")
    assert done.result is not None and done.result.listed is not None
    cells = done.result.listed.cells
    for entry, counts in zip(alone.listed.entries, cells.sum(axis=2), strict=True):
        assert entry.counts is not None
        assert (entry.counts.masked, entry.counts.non_critical, entry.counts.critical) == tuple(counts)
    assert done.found["list"] == {
        "source": "list.csv", "faults": len(cells), "images": 30, "of": 30
    }  # fmt: skip
    assert done.found["only_a"] + done.found["only_b"] == len(done.found["disagreements"]) > 0
    lines = (room / "listed" / "faults.csv").read_text().splitlines()
    assert len(lines) == len(cells) + 1


def test_a_list_goes_on_after_a_stop(room: Path, listed: Path, tmp_path: Path) -> None:
    data = Data((room / "x.npz",))

    def stop(folder: Path, done: int, total: int, rate: float) -> None:
        if done > 3000:
            raise KeyboardInterrupt

    asked: dict[str, Any] = {"data": data, "faults": listed, "machine": ONE, "out": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        api.parity(room / "a.onnx", room / "other.onnx", progress=Watch(lists=stop), **asked)
    done = api.parity(room / "a.onnx", room / "other.onnx", **asked)
    whole = json.loads((room / "listed" / "parity.json").read_text())
    assert done.found == whole


def test_types_that_share_no_bits_are_compared_by_outcome(room: Path) -> None:
    t.twin(room / "half.onnx", W, dtype="float16")
    done = api.parity(
        room / "a.onnx", room / "half.onnx", data=Data((room / "x.npz",)), precision=FEW, machine=ONE, out=room / "half"
    )
    assert not done.found["paired"] and done.found["disagreements"] == []
    assert "they share no bits" in done.found["warnings"][0]
    assert len(done.found["layers"]) == 6
    change = done.found["mvf"]["weights"]["difference"]
    assert change["low"] < change["value"] < change["high"]


def test_command_line(room: Path) -> None:
    done = CliRunner().invoke(
        cli,
        ["parity", str(room / "a.onnx"), str(room / "b.onnx"), "--data", str(room / "x.npz"), "--budget", "600",
         "--workers", "1", "--vigor", "0.3", "--site-images", "3", "--out", str(room / "cli")],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "6 of 6 layers with weights matched" in done.output
    assert all(len(line) <= 80 for line in done.output.splitlines())
    assert "DeepVigor+" in done.output
    page = (room / "cli" / "report.html").read_text()
    assert "Where they disagree" in page and "6 of 6 layers with weights matched" in page
    values = json.loads((room / "cli" / "parity.json").read_text())
    assert values["vigor"]["mvf"]["weights"]["a"]["trials"] > 0
    again = CliRunner().invoke(
        cli, ["parity", "--studies", str(room / "cli" / A), str(room / "cli" / B), "--json"], catch_exceptions=False
    )
    assert json.loads(again.output)["paired"]


@pytest.mark.slow
def test_the_bundled_pair(tmp_path: Path) -> None:
    """PyTorch's weights copied to Keras, both exported by our converters: the same words in every layer."""
    done = api.parity(data=Data(images=40), precision=Precision(budget=300), machine=Machine(workers=2), out=tmp_path)
    assert len(done.found["match"]["pairs"]) == 10 and all(row["identical"] for row in done.found["match"]["pairs"])
    assert done.found["clean"]["agree"] == 40 and done.found["clean"]["difference"] < 1e-4
    assert done.found["only_a"] == done.found["only_b"] == 0


def test_a_published_plan_is_repeated_too(room: Path) -> None:
    """n = N / (1 + e^2 (N - 1) / (t^2 p (1 - p))) faults, each on all images, in both."""
    done = api.parity(
        room / "a.onnx", room / "b.onnx", data=Data((room / "x.npz",), images=6), plan=Plan("network", 0.05),
        machine=ONE, out=room / "network",
    )  # fmt: skip
    assert done.found["paired"] and done.found["trials"] % 6 == 0
    assert sum(map(sum, done.found["confusion"]["weights"])) == done.found["trials"] > 3000


def test_noise_is_the_same_for_channels_first_and_last(room: Path) -> None:
    done = api.parity(
        room / "a.onnx", room / "b.onnx", data=Data(synthetic=20), precision=FEW, machine=ONE, out=room / "noise"
    )
    assert done.found["clean"]["difference"] < 1e-4
    assert "synthetic" in done.found["warnings"][-1]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["a.onnx"], 1, "Parity is between two models: give both, or none for the bundled pair."),
        (["a.onnx", "b.onnx"], 1, "No images are given for a.onnx"),
        (["a.onnx", "none.onnx", "--synthetic", "8"], 1, "does not exist"),
        (["a.onnx", "b.onnx", "--synthetic", "8", "--parameters", "all"], 2, "No such option '--parameters'"),
        (["a.onnx", "b.onnx", "--synthetic", "8", "--faults", "no.csv"], 1, "the fault list cannot be read"),
        (["--studies", "here", "there"], 1, "here is not a study"),
        (["--studies", "here"], 2, "requires 2 arguments"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(
    room: Path,
    words: list[str],
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(room)
    assert run(["parity", *words]) == code
    assert said in " ".join(capsys.readouterr().err.split())


def test_images_of_each_side_are_its_own(room: Path) -> None:
    """The second model wants its images doubled, and its first layer halves them: the same function."""
    half = {**W, "first.weight": W["first.weight"] / 2}
    t.twin(room / "halved.onnx", half, KERAS)
    data = Data((room / "x.npz",))
    done = api.parity(
        room / "a.onnx", room / "halved.onnx", data=data, data_b=Data((room / "x.npz",), scale=2.0), machine=ONE,
        precision=FEW, out=room / "own",
    )  # fmt: skip
    assert done.found["clean"]["agree"] == 30 and done.found["clean"]["difference"] < 1e-3
    assert [pair["form"] for pair in done.found["match"]["pairs"]] == ["shape", *["stored"] * 5]
    assert done.found["left_out"][0].endswith("the values differ: only shape and place agree")
