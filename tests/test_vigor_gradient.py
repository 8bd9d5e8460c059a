"""The paper's gradient test: where it skips, and that what it wrongly skips is told."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
import trained_net
from click.testing import CliRunner
from corpus import CASES, images
from onnx import numpy_helper

from onnxfi import Data, Machine, Sampling, StudyError, Target, api
from onnxfi.cli.main import cli
from onnxfi.engine.deviation import Deviations
from onnxfi.engine.prepare import prepare
from onnxfi.vigor import paper
from onnxfi.vigor.analysis import Analysis, put_together
from onnxfi.vigor.course import paper_course
from onnxfi.vigor.gradient import Slopes
from onnxfi.vigor.settings import Question

needed = pytest.mark.skipif(find_spec("onnx2torch") is None, reason="the extra [gradient] is not installed")
ONE = Machine(workers=1, exact=True)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    trained_net.write(folder / "small.onnx")
    trained_net.save_pictures(folder / "data.npz", 8)
    return folder


def found(folder: Path, layers: tuple[str, ...], gradient_test: bool) -> api.Vulnerability:
    return api.vigor(
        folder / "small.onnx",
        data=Data((folder / "data.npz",)),
        target=Target(activation="mac", layers=layers),
        sampling=Sampling(0.4),
        paper=True,
        gradient_test=gradient_test,
        machine=ONE,
    )


@needed
@pytest.mark.parametrize("delta", [-1.0, 1.0])
def test_gradients_behind_a_relu_by_hand(small: Path, tmp_path: Path, delta: float) -> None:
    """Behind conv3 there are BatchNormalization, ReLU, a mean and a dense layer: dL/d(a word) is zero where the ReLU is
    shut, (word + delta) * scale + shift <= 0, and nowhere else, for the dense layer has no row of equal weights."""
    question = Question(
        Target(activation="mac", layers=("conv3",)), Data((small / "data.npz",)), machine=ONE, paper=True
    )
    assembly, _ = put_together(small / "small.onnx", question)
    prepare(
        assembly.network,
        assembly.probe,
        assembly.dataset.images,
        paper_course(assembly, Sampling()).prepared,
        assembly.engine,
        tmp_path,
    )
    engine = Deviations(tmp_path)
    stored = {t.name: numpy_helper.to_array(t) for t in onnx.load(small / "small.onnx").graph.initializer}
    scale = stored["bn3.scale"] / np.sqrt(stored["bn3.var"] + 1e-5)
    shift = stored["bn3.shift"] - stored["bn3.mean"] * scale
    words = engine.read("c3", np.arange(8))
    shut = (words + np.float32(delta)) * scale[:, None, None] + shift[:, None, None] <= 0
    image, site = np.divmod(np.arange(8 * words[0].size), words[0].size)
    neurons = Slopes.of(engine, 1).none(image, site[:, None], delta)
    assert 0.05 < neurons.mean() < 0.95
    assert np.array_equal(neurons.reshape(shut.shape), shut)
    image, channel = np.divmod(np.arange(64), 8)
    filters = Slopes.of(engine, 0).none(image, engine.places(0, channel), delta)
    assert np.array_equal(filters.reshape(8, 8), shut.all(axis=(2, 3)))


@needed
def test_the_audit_says_what_was_wrongly_skipped(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every skipped side audited, its error is the difference between VF with the test and without it."""
    monkeypatch.setattr(paper, "_LEAST_AUDITED", 1 << 40)
    layers = ("conv1", "conv2", "conv3")
    tested, plain = found(small, layers, True), found(small, layers, False)
    assert isinstance(tested.analysis, Analysis)
    assert isinstance(plain.analysis, Analysis)
    wrong = 0
    for row in tested.found["gradient_test"]:
        mine, theirs = (
            [m.pairs for m in a.estimates.measured if m.region.target == row["target"]]
            for a in (tested.analysis, plain.analysis)
        )
        off = np.concatenate(mine).mean(dtype=np.float64) - np.concatenate(theirs).mean(dtype=np.float64)
        assert row["audited"] == row["skipped"] > 0
        assert row["error"] == pytest.approx(off, abs=1e-9)
        assert off <= 0
        wrong += row["wrong"]
    assert wrong > 0
    runs = [a.found["simulations"][0]["analysis"] for a in (tested, plain)]
    assert runs[0] < runs[1]


@needed
def test_it_works_on_the_bundled_model() -> None:
    """At opset 20 onnx2torch does not know its AveragePool, at 17 not its Reshape: the copy says both otherwise."""
    arguments = "vigor --paper --gradient-test --images 4 --channel-sampling-ratio 0.05 --workers 1 --target weights"
    ran = CliRunner().invoke(cli, arguments.split(), catch_exceptions=False)
    assert ran.exit_code == 0
    assert "audit: wrongly skipped" in ran.output
    assert max(len(line) for line in ran.output.splitlines()) <= 80


@needed
@pytest.mark.parametrize("name", ["max_pool", "relu6", "average_pool", "batch_norm", "residual_projection"])
def test_usual_layers_are_converted(name: str, tmp_path: Path) -> None:
    """NaN-safe pools and bounds of infinity too, which onnx2torch does not know."""
    assert on_corpus(name, tmp_path).found["gradient_test"]


@needed
def test_what_cannot_be_converted_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"onnx2torch cannot convert net\.onnx .*: leave --gradient-test out"):
        on_corpus("gelu", tmp_path)


def on_corpus(name: str, folder: Path) -> api.Vulnerability:
    onnx.save(CASES[name].model(), folder / "net.onnx")
    np.save(folder / "images.npy", images(CASES[name], 2, seed=1))
    return api.vigor(
        folder / "net.onnx",
        data=Data((folder / "images.npy",), scale=1.0),
        sampling=Sampling(0.2),
        target=Target("weights", "mac"),
        paper=True,
        gradient_test=True,
        machine=ONE,
    )


def test_without_the_extra_it_is_named(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx2torch", None)
    with pytest.raises(StudyError, match=r"pip install 'onnxfi\[gradient\]'"):
        found(small, ("conv3",), True)


def test_it_belongs_to_the_paper(small: Path) -> None:
    with pytest.raises(StudyError, match="give --paper too"):
        api.vigor(small / "small.onnx", data=Data((small / "data.npz",)), gradient_test=True)
