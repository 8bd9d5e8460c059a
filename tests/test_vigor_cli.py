"""`onnxfi vigor` as a person and a program meet it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import trained_net
from click.testing import CliRunner, Result

from onnxfi.cli.main import cli


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Arguments that name the trained network and eight images."""
    folder = tmp_path_factory.mktemp("small")
    model = trained_net.write(folder / "small.onnx")
    data = trained_net.save_pictures(folder / "data.npz", 8)
    return [str(model), "--data", str(data), "--workers", "1"]


def vigor(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["vigor", *arguments], catch_exceptions=False)


def test_tables_name_the_kind_of_site_and_print_the_audit(small: list[str]) -> None:
    for kind in ("input", "output", "mac"):
        ran = vigor(*small, "--channel-sampling-ratio", "0.2", "--activation", kind)
        assert ran.exit_code == 0
        assert f"activations: {kind}, " in ran.output
        assert "audit: sides not monotone" in ran.output
        assert "MVF total, Eq. 15" in ran.output
        assert max(len(line) for line in ran.output.splitlines()) <= 80


def test_as_published_says_so(small: list[str]) -> None:
    ran = vigor(*small, "--paper", "--channel-sampling-ratio", "0.1")
    assert "deepvigor+ as published" in ran.output
    assert "activations: mac, " in ran.output
    assert "audit" not in ran.output


def test_json_and_files_agree(small: list[str], tmp_path: Path) -> None:
    ran = vigor(*small, "--target", "weights", "--layers", "conv*", "--out", str(tmp_path / "out"), "--json")
    found = json.loads(ran.output)
    assert json.loads((tmp_path / "out" / "vigor.json").read_text()) == found
    assert [row["layer"] for row in found["layers"]] == ["conv1", "conv2", "conv3"]
    assert found["mvf"]["weights"]["value"] == pytest.approx(
        np.mean([row["weights"]["value"] for row in found["layers"]])
    )
    with (tmp_path / "out" / "channels.csv").open() as file:
        channels = list(csv.DictReader(file))
    assert len(channels) == 6 + 8 + 8
    for row in found["layers"]:
        own = [float(channel["value"]) for channel in channels if channel["layer"] == row["layer"]]
        assert np.mean(own) == pytest.approx(row["weights"]["value"])
    with np.load(tmp_path / "out" / "ranges.npz") as ranges:
        assert ranges["lower_1"].shape == (6 * 8 * 9, 8)
        assert (ranges["lower_1"] < 0).all()
        assert (ranges["upper_1"] > 0).all()
        mine = [float(c["upper"]) for c in channels if c["layer"] == "conv2"]
        assert mine == pytest.approx([float(ranges["upper_1"][ranges["channel_1"] == c].min()) for c in range(8)])


def test_simulations_of_injection_are_those_of_the_papers_formula(small: list[str]) -> None:
    """conv2 has 432 weights: 13,824 faults; layer-wise n(N) at 1 %, 95 %: 13,824/(1+13,823/9,604) = 5,667 (Eq. 1)."""
    found = json.loads(vigor(*small, "--target", "weights", "--layers", "conv2", "--json").output)
    row = found["simulations"][0]
    assert row["exhaustive"] == 13824
    assert row["layer"] == pytest.approx(5667, abs=2)
    assert row["data_aware"] < row["data_unaware"] < row["exhaustive"]
    assert row["analysis"] == pytest.approx(row["complete"])
    assert row["analysis"] < row["exhaustive"] / 4


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (["--channel-sampling-ratio", "2"], "give a fraction above 0, at most 1"),
        (["--confidence", "1"], "give a fraction between 0 and 1"),
        (["--layers", "nothing"], "matches no layer"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_a_sentence(small: list[str], wrong: list[str], sentence: str) -> None:
    from onnxfi.errors import OnnxfiError

    with pytest.raises(OnnxfiError, match=sentence):
        vigor(*small, *wrong)


def test_validation_injects_and_compares(small: list[str]) -> None:
    """All channels of conv2, all of their 432 * 32 * 8 trials but those beyond 1,024 a bit and channel (432 there)."""
    arguments = (*small, "--target", "weights", "--layers", "conv2", "--validate", "1", "--json")
    row = json.loads(vigor(*arguments).output)["validation"][0]
    assert row["trials"] == 432 * 32 * 8
    assert row["channels"] == 8
    assert row["mae"] <= 5e-4
    assert row["rank"] >= 0.95
    assert row["mae_low"] <= row["mae"] <= row["mae_high"] < row["constant"]
    assert "rank correlation of CVF" in vigor(*arguments[:-1]).output
