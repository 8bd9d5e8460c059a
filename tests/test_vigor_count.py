"""Counting what an analysis would decide, and what statistical injection would draw, without running either."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import trained_net
from click.testing import CliRunner

from onnxfi import api
from onnxfi.cli.main import cli
from onnxfi.errors import StudyError
from onnxfi.study.settings import Data, Machine, Target
from onnxfi.vigor.settings import Sampling


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_net.write(tmp_path_factory.mktemp("small") / "small.onnx")


def test_counts_by_hand(small: Path) -> None:
    """conv 1-6-8-8 of 3x3 and 10x8: 54 + 432 + 576 + 80 weights; inputs 196, 6x49, 8x49 and 8 words."""
    weights, activations = api.count(small, ratio=0.25)
    assert (weights.target, weights.kind, weights.sites) == ("weights", "weight", 54 + 432 + 576 + 80)
    # A quarter of 6, 8, 8 and 10 channels, rounded up, and log2 of 9, 54, 72 and 8 sites (Eq. 16).
    assert weights.sampled == 2 * 4 + 2 * 6 + 2 * 7 + 3 * 3
    assert weights.exhaustive == 32 * weights.sites
    assert activations.sites == 196 + 6 * 49 + 8 * 49 + 8
    assert activations.sampled == 1 * 8 + 2 * 6 + 2 * 6 + 2 * 1
    assert activations.data_aware is None

    def n(population: int) -> int:
        """Ruospo et al.: N / (1 + e^2 (N - 1) / (t^2 p (1 - p))), e = 0.01, t = 1.96, p = 0.5."""
        return round(population / (1 + 1e-4 * (population - 1) / (1.959964**2 * 0.25)))

    layers = [54, 432, 576, 80]
    assert weights.layer == sum(n(32 * size) for size in layers)
    assert weights.data_unaware == sum(32 * n(size) for size in layers)
    assert weights.data_aware is not None
    assert weights.data_aware < weights.data_unaware


def test_operands_are_counted_as_faults_and_neurons_as_sites(small: Path) -> None:
    (row,) = api.count(small, target=Target("activations", "mac", layers=("conv2",)))
    assert row.sites == 8 * 49
    assert row.exhaustive == 32 * 8 * 49 * 6 * 9
    assert row.sampled == 1 * math.ceil(math.log2(49))


def test_what_is_counted_is_what_an_analysis_takes(small: Path, tmp_path: Path) -> None:
    data = Data(paths=(trained_net.save_pictures(tmp_path / "images.npz", 3),))
    run = api.vigor(small, data=data, sampling=Sampling(channels=0.25), machine=Machine(workers=1))
    for row in api.count(small, ratio=0.25):
        mine = [m for m in run.analysis.estimates.measured if m.region.target == row.target]  # type: ignore[union-attr]
        assert row.sampled == sum(len(m.drawn.site) for m in mine)
        told = next(s for s in run.found["simulations"] if s["target"] == row.target)
        assert (told["exhaustive"], told["layer"]) == (row.exhaustive, row.layer)
        assert told["data_unaware"] == row.data_unaware


def test_from_a_shell(small: Path) -> None:
    shown = CliRunner().invoke(cli, ["vigor", str(small), "--count"])
    assert shown.exit_code == 0
    assert "faults, exhaustive" in shown.output
    told = CliRunner().invoke(cli, ["vigor", str(small), "--count", "--json", "--channel-sampling-ratio", "0.25"])
    assert [row["sampled"] for row in json.loads(told.output)] == [row.sampled for row in api.count(small, ratio=0.25)]
    with pytest.raises(StudyError, match="give a fraction"):
        api.count(small, ratio=2)
