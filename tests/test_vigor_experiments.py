"""The paper's experiments: samples drawn from a complete analysis, batches of images; and how they are told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import trained_net
from click.testing import CliRunner

from onnxfi import api
from onnxfi.cli.main import cli
from onnxfi.errors import StudyError
from onnxfi.study.settings import Data, Machine, Target
from onnxfi.vigor.analysis import Analysis, analyze
from onnxfi.vigor.experiments import batches, resample
from onnxfi.vigor.settings import Experiments, Question, Sampling


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the trained network and ten images."""
    folder = tmp_path_factory.mktemp("small")
    trained_net.write(folder / "small.onnx")
    trained_net.save_pictures(folder / "images.npz", 10)
    return folder


def analysis_of(folder: Path, sampling: Sampling | None = None, images: int | None = 10) -> Analysis:
    data = Data(paths=(folder / "images.npz",), images=images)
    question = Question(Target(layers=("conv2", "conv3")), data, sampling or Sampling(), machine=Machine(workers=1))
    return analyze(folder / "small.onnx", question)


@pytest.fixture(scope="module")
def whole(small: Path) -> Analysis:
    return analysis_of(small)


def test_samples_of_a_complete_analysis(whole: Analysis) -> None:
    """More channels, smaller errors of LVF; what is drawn costs its share of simulations (Eq. 16)."""
    rows = {(row.target, row.ratio): row for row in resample(whole, (0.25, 1.0), 40)}
    assert set(rows) == {(target, ratio) for target in ("weights", "activations") for ratio in (0.25, 1.0)}
    for target in ("weights", "activations"):
        few, all_ = rows[target, 0.25], rows[target, 1.0]
        assert 0 < all_.lvf_mean < few.lvf_mean <= few.lvf_max
        assert few.cvf_mean <= few.cvf_max
        assert few.simulations < all_.simulations
        assert few.seconds < all_.seconds < whole.seconds
    # By hand: conv2 has 8 filters of 54 weights, conv3 8 of 72; log2 is 6 and 7, a quarter of 8 channels is 2.
    m2, m3 = (m for m in whole.estimates.measured if m.region.target == "weights")
    each = [2 * 6 / (8 * 54), 2 * 7 / (8 * 72)]
    tried = [(m.tried + m.audit.values) / 10 for m in (m2, m3)]
    assert rows["weights", 0.25].simulations == pytest.approx(np.dot(each, tried))


def test_errors_of_samples_are_those_of_real_sampled_analyses(small: Path, whole: Analysis) -> None:
    """Twelve analyses that really sample, by their own draws: their mean error of LVF is near the resampled one."""
    off = []
    for seed in range(12):
        part = analysis_of(small, Sampling(channels=0.5, seed=seed))
        off += [abs(a.sites.mean() - b.sites.mean())
                for a, b in zip(part.estimates.measured, whole.estimates.measured, strict=True)
                if a.region.target == "weights"]  # fmt: skip
    row = next(r for r in resample(whole, (0.5,), 200) if r.target == "weights")
    spread = np.std(off, ddof=1) / np.sqrt(len(off))
    assert abs(np.mean(off) - row.lvf_mean) < 4 * spread


def test_batches_join_to_the_whole(whole: Analysis) -> None:
    """MVF of the batches, weighed by their images, is the MVF of all."""
    rows = batches(whole, 3)
    assert [row.images for row in rows] == [4, 3, 3]
    estimates = whole.estimates
    factors = estimates.factors
    shares = factors.mvf("weights"), factors.mvf("activations"), factors.total(*estimates.sizes)
    for name, weights in zip(("weights", "activations", "total"), shares, strict=True):
        joined = sum(row.images * getattr(row, name) for row in rows) / 10
        full = estimates.estimate(weights)
        assert full is not None
        assert joined == pytest.approx(full.value, rel=1e-5)


def test_only_a_complete_analysis_is_drawn_from(small: Path, whole: Analysis) -> None:
    part = analysis_of(small, Sampling(channels=0.5, images=5))
    with pytest.raises(StudyError, match="leave --channel-sampling-ratio"):
        resample(part, (0.1,), 3)
    with pytest.raises(StudyError, match="leave --site-images"):
        batches(part, 2)
    with pytest.raises(StudyError, match="leave --channel-sampling-ratio"):  # before anything is run
        api.vigor(small / "none.onnx", sampling=Sampling(channels=0.5), experiments=Experiments((0.1,)))
    with pytest.raises(StudyError, match="there are 10 images"):
        batches(whole, 11)


@pytest.mark.parametrize("wrong", [{"ratios": (0.0,)}, {"ratios": (1.2,)}, {"repeats": 0}, {"batches": 1}])
def test_experiments_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(StudyError, match="give"):
        Experiments(**wrong)  # type: ignore[arg-type]


def test_from_a_shell_and_from_python_alike(small: Path, tmp_path: Path) -> None:
    command = f"vigor {small / 'small.onnx'} --data {small / 'images.npz'} --layers fc --workers 1 --out {tmp_path}"
    command += " --sampling-ratios 0.2,0.5 --repeats 5 --image-batches 2"
    shown = CliRunner().invoke(cli, command.split())
    assert shown.exit_code == 0, shown.output
    assert "Samples of channels against all of them, 5 each" in shown.output
    assert "largest less smallest" in shown.output
    assert max(len(line) for line in shown.output.splitlines() if str(tmp_path) not in line) <= 80
    told = json.loads((tmp_path / "vigor.json").read_text())
    run = api.vigor(
        small / "small.onnx", data=Data(paths=(small / "images.npz",)), target=Target(layers=("fc",)),
        machine=Machine(workers=1), experiments=Experiments((0.2, 0.5), 5, 2),
    )  # fmt: skip
    assert run.found["batches"] == told["batches"]
    assert [row["cvf_mean"] for row in run.found["resampling"]] == [row["cvf_mean"] for row in told["resampling"]]
    assert len(pd.read_csv(tmp_path / "resampling.csv")) == 4
    assert len(pd.read_csv(tmp_path / "batches.csv")) == 2
