"""`onnxfi.api.vigor` and `onnxfi analyze --method`: the same analysis as `onnxfi vigor`, in as many lines."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import trained_net
from click.testing import CliRunner

from onnxfi import Data, Machine, Sampling, StudyError, Target, api
from onnxfi.cli.main import cli, run
from onnxfi.vigor.analysis import Analysis
from onnxfi.vigor.deepvigor import Ranges

ONE = Machine(workers=1)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    trained_net.write(folder / "small.onnx")
    trained_net.save_pictures(folder / "data.npz", 6)
    return folder


def asked(folder: Path, *options: str) -> dict[str, object]:
    """What the command line says to the same question, without what differs from run to run."""
    arguments = [*options, str(folder / "small.onnx"), "--data", str(folder / "data.npz"), "--workers", "1", "--json"]
    ran = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    return timeless(json.loads(ran.output))


def timeless(found: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in found.items() if name != "seconds"}


def test_python_and_command_line_find_the_same(small: Path, tmp_path: Path) -> None:
    data = Data((small / "data.npz",))
    seen: list[tuple[str, int, int]] = []
    found = api.vigor(
        small / "small.onnx",
        data=data,
        target=Target("weights", layers=("conv*",)),
        sampling=Sampling(0.3),
        machine=ONE,
        validate=0.5,
        out=tmp_path / "out",
        progress=lambda *now: seen.append(now),
    )
    assert [layer for layer, _, _ in seen] == ["conv1, weights", "conv2, weights", "conv3, weights"]
    assert isinstance(found.analysis, Analysis)
    assert found.folder == tmp_path / "out"
    assert (tmp_path / "out" / "vigor.json").read_text() == found.to_json()
    options = ["--target", "weights", "--layers", "conv*", "--channel-sampling-ratio", "0.3", "--validate", "0.5"]
    told = timeless(json.loads(found.to_json()))
    assert asked(small, "vigor", *options) == told
    assert asked(small, "analyze", "--method", "deepvigor+", *options) == told
    assert asked(small, "analyze", "--method=deepvigor+", *options) == told


def test_deepvigor_by_both_doors(small: Path, tmp_path: Path) -> None:
    data, sampling = Data((small / "data.npz",)), Sampling(0.2)
    found = api.vigor(small / "small.onnx", data=data, method="deepvigor", sampling=sampling, machine=ONE, out=tmp_path)
    assert isinstance(found.analysis, Ranges)
    assert (tmp_path / "neurons.csv").is_file()
    told = asked(small, "analyze", "--method", "deepvigor", "--channel-sampling-ratio", "0.2")
    assert timeless(json.loads(found.to_json())) == told


def test_what_is_usual_goes_with_the_method(small: Path) -> None:
    data = Data((small / "data.npz",), images=2)
    found = api.vigor(small / "small.onnx", data=data, sampling=Sampling(0.1), paper=True, machine=ONE)
    assert (found.found["method"], found.found["activation"]) == ("deepvigor+ as published", "mac")


def test_the_bundled_model_stands_in() -> None:
    found = api.vigor(
        data=Data(images=2), target=Target("weights", layers=("linear",)), sampling=Sampling(0.2), machine=ONE
    )
    assert found.found["images"] == 2
    assert api.explain("linear.weight[0,0]", data=Data(images=2)).layer == "linear"


def test_deepvigor_needs_no_validation(small: Path) -> None:
    with pytest.raises(StudyError, match="leave --validate out"):
        api.vigor(small / "small.onnx", data=Data((small / "data.npz",)), method="deepvigor", validate=0.1)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["analyze", "--method", "deepvigor+", "--plan", "layer"], "No such option"),
        (["analyze", "--method", "deepsomething"], "is not one of"),
    ],
)
def test_an_option_of_the_other_method_is_a_wrong_command_line(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    assert sentence in capsys.readouterr().err


def test_the_other_methods_help() -> None:
    shown = CliRunner().invoke(cli, ["analyze", "--method", "deepvigor", "--help"])
    assert "--channel-sampling-ratio" in shown.output
    assert max(len(line) for line in shown.output.splitlines()) <= 80
    assert "--method" in CliRunner().invoke(cli, ["analyze", "--help"]).output


def test_labels_are_those_of_analyze(small: Path, tmp_path: Path) -> None:
    """The outputs renumbered back to front: the images' classes follow, and an output too few is refused."""
    order = tmp_path / "order.txt"
    order.write_text("\n".join(map(str, range(9, -1, -1))))
    found = api.vigor(
        small / "small.onnx",
        data=Data((small / "data.npz",), label_map=str(order)),
        target=Target("weights", layers=("fc",)),
        sampling=Sampling(0.2),
        machine=ONE,
    )
    with np.load(small / "data.npz") as data:
        assert found.analysis.assembly.dataset.labels is not None
        assert found.analysis.assembly.dataset.labels.tolist() == (9 - data["labels"]).tolist()
    assert asked(small, "vigor", "--label-map", str(order), "--layers", "fc", "--channel-sampling-ratio", "0.1")
    order.write_text("0 1 2")
    wrong = ["vigor", str(small / "small.onnx"), "--data", str(small / "data.npz"), "--label-map", str(order)]
    assert run(wrong) == 1


@pytest.mark.slow
def test_a_script_needs_no_guard(tmp_path: Path) -> None:
    """Lines of a README put into a file and run: the processes that are started do not run the file again."""
    script = tmp_path / "mine.py"
    script.write_text(
        "from onnxfi import Data, Machine, Precision, Sampling, Target, analyze, api\n"
        "data, two = Data(images=2), Machine(workers=2)\n"
        "target = Target('weights', layers=('linear',))\n"
        "run = analyze(data=data, target=target, precision=Precision(budget=200), machine=two, out='study')\n"
        "found = api.vigor(data=data, target=target, sampling=Sampling(0.2), machine=two)\n"
        "print('done', run.summary.trials, found.found['images'], __file__)\n"
    )
    ran = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.stdout.startswith("done 200 2"), ran.stderr
    assert ran.stdout.count("done") == 1
