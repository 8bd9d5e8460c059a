"""`onnxfi analyze`, `show` and `inject`: their answers and files, what each refuses, and nothing but data on stdout."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from command_line import error

from onnxfi.bundled import model_path
from onnxfi.cli.main import run

# A few hundred trials on the last layer of the bundled model: a second.
QUICK = ["analyze", "--images", "10", "--layers", "linear", "--budget", "400", "--workers", "1"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--precision", "0"], "--precision is 0.0; give a fraction above 0"),
        (["--confidence", "99"], "--confidence is 99.0"),
        (["--shard", "3/2", "--plan", "network"], "--shard is 3/2"),
        (["--shard", "1/2"], "An adaptive study cannot be sharded"),
        (["--layers", "nowhere*"], "--layers 'nowhere*' matches no layer of fashion_resnet8.onnx"),
        (["--bits", "top"], "--bits has 'top'"),
        (["--bits", "40"], "Nothing can be injected into fashion_resnet8.onnx"),
        (["--synthetic", "5", "--data", "x.npz"], "--synthetic makes images up, and --data names some"),
        (["--data", "nowhere.npz"], "nowhere.npz"),
        (["--memory", "1MiB"], "--memory is 1048576 bytes"),
    ],
)
def test_analyze_refuses_in_one_sentence(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert says in error(capsys, "analyze", *arguments, "--out", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_model_needs_images(capsys: pytest.CaptureFixture[str]) -> None:
    assert "No images are given" in error(capsys, "analyze", str(model_path()))


def test_an_answer_and_its_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run([*QUICK, "--out", str(tmp_path / "run")]) == 0
    out, _ = capsys.readouterr()
    assert "linear" in out and "Vulnerability of each layer" in out and "MVF of weights" in out
    # The last line is a path: data, never broken.
    assert max(map(len, out.splitlines()[:-1])) <= 80
    assert "\x1b" not in out
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names >= {"study.json", "journal.sqlite", "summary.json", "layers.csv", "bits.csv", "channels.csv"}
    assert not [name for name in names if name.startswith(".work")]


def test_json_is_one_object_and_the_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run([*QUICK, "--out", str(tmp_path / "run"), "--json"]) == 0
    out, _ = capsys.readouterr()
    assert json.loads(out)["trials"] >= 80
    assert out == (tmp_path / "run" / "summary.json").read_text(encoding="utf-8")


def test_the_same_command_again_changes_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    command = [*QUICK, "--out", str(tmp_path / "run"), "--json"]
    assert run(command) == 0
    first = capsys.readouterr().out
    assert run(command) == 0
    assert capsys.readouterr().out == first


def test_another_question_for_the_same_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run([*QUICK, "--out", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    said = error(capsys, *QUICK, "--seed", "1", "--out", str(tmp_path / "run"))
    assert "holds another study" in said


def test_the_default_folder_is_named_after_the_question(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(QUICK) == 0
    assert run([*QUICK, "--seed", "1"]) == 0
    folders = sorted(path.name for path in (tmp_path / "onnxfi-run").iterdir())
    assert len(folders) == 2
    assert all(re.fullmatch(r"fashion_resnet8-[0-9a-f]{8}", name) for name in folders)


def test_show(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["show", str(model_path())]) == 0
    out, _ = capsys.readouterr()
    # By hand: 16x1x3x3 weights of the first layer.
    assert "conv1" in out and "16x1x3x3" in out and "144" in out
    assert run(["show", str(model_path()), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["layers"][0]["layer"] == "conv1"
    assert facts["layers"][0]["output_shape"] == [16, 28, 28]
    # 28x28 input words, float32; the mac operands of the last layer: 10 outputs of 64 products.
    assert facts["activations"]["input"]["sites"] > 784
    assert facts["activations"]["mac"]["sites"] > 10 * 64


@pytest.mark.parametrize("flags", [[], ["--baked"]])
def test_inject_writes_a_model_that_errs(flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The top exponent bit of one weight of the first layer (EXPORT.md 6: such a flip is mostly critical)."""
    out = tmp_path / "faulty.onnx"
    fault = "conv1.weight[3,0,2,1]:flip@30"
    assert run(["inject", str(model_path()), "--fault", fault, *flags, "-o", str(out)]) == 0
    assert capsys.readouterr() == ("", "")
    image = np.random.default_rng(0).standard_normal((2, 1, 28, 28)).astype(np.float32)
    golden, faulty = (
        ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"input": image})[0]
        for path in (model_path(), out)
    )
    assert not np.array_equal(golden, faulty)


def test_inject_into_an_activation(tmp_path: Path) -> None:
    out = tmp_path / "faulty.onnx"
    assert run(["inject", str(model_path()), "--fault", "input[0,5,5]:value@100", "-o", str(out)]) == 0
    image = np.zeros((2, 1, 28, 28), np.float32)
    by_hand = image.copy()
    by_hand[:, 0, 5, 5] = 100
    golden = ort.InferenceSession(str(model_path()), providers=["CPUExecutionProvider"]).run(None, {"input": by_hand})[
        0
    ]
    faulty = ort.InferenceSession(str(out), providers=["CPUExecutionProvider"]).run(None, {"input": image})[0]
    np.testing.assert_allclose(faulty, golden, rtol=1e-5)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("inputs[0,5,5]:flip@30", "did you mean 'input'"),
        ("conv1.weight[3,0,2,9]:flip@30", "index 9 on axis 3"),
        ("conv1.weight[3,0,2,1]:flip@32", "bits of float32 are 0 to 31"),
        ("conv1.weight", "is no fault: it is written TENSOR"),
        ("@nowhere.json", "nowhere.json cannot be read"),
    ],
)
def test_inject_refuses(fault: str, says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "faulty.onnx"
    assert says in error(capsys, "inject", str(model_path()), "--fault", fault, "-o", str(out))
    assert not out.exists()


def test_inject_never_writes_over_the_model(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(model_path().read_bytes())
    fault = "conv1.weight[3,0,2,1]:flip@30"
    assert "is the model itself" in error(capsys, "inject", str(model), "--fault", fault, "-o", str(model))
    assert model.read_bytes() == model_path().read_bytes()
