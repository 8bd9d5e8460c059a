"""DeepVigor: ranges of neurons per class, and whether faults on unseen images are what their category says."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import trained_net
from click.testing import CliRunner

from onnxfi.cli.main import cli
from onnxfi.errors import StudyError
from onnxfi.study.settings import Data, Machine, Target
from onnxfi.vigor.deepvigor import correlation, find_ranges
from onnxfi.vigor.ranges import LADDER, NON_VULNERABLE, SEMI_VULNERABLE, VULNERABLE, Limits, by_class, last_layer
from onnxfi.vigor.settings import Question, Sampling


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    trained_net.write(folder / "small.onnx")
    trained_net.save_pictures(folder / "data.npz", 80)
    return folder


def test_the_last_layer_in_closed_form_by_hand() -> None:
    """Logits 5, 2, 3: the golden 0 may fall by less than 2, 1 may rise by less than 3, 2 by less than 2."""
    limits = last_layer(np.array([[5.0, 2.0, 3.0]]), np.zeros(3, np.int64), np.arange(3))
    assert limits.safe_low.tolist() == [-2.0, -np.inf, -np.inf]
    assert limits.safe_high.tolist() == [np.inf, 3.0, 2.0]
    assert limits.tried == 0


def test_ranges_of_a_class_by_hand() -> None:
    """Two images of class 0, safe to 1 and 4, critical from 2 and 8: non-vulnerable to 1, vulnerable from 8."""
    open_ = np.array([-np.inf, -np.inf])
    limits = Limits(open_, open_, np.array([1.0, 4.0]), np.array([2.0, 8.0]), 0)
    ranges = by_class(limits, 1, np.array([0, 0]), 2)
    deviation = np.array([0.5, 1.5, 9.0, -1e30, np.nan, 0.5])
    category = ranges.category(np.zeros(6, np.int64), np.array([0, 0, 0, 0, 0, 1]), deviation)
    assert category.tolist() == [
        NON_VULNERABLE, SEMI_VULNERABLE, VULNERABLE, NON_VULNERABLE, VULNERABLE, SEMI_VULNERABLE,
    ]  # fmt: skip


def test_categories_are_true_on_seen_and_unseen_images(small: Path) -> None:
    """Tables I and II have at least 99.911 % for both, of networks with thousands of images; here they are 40."""
    target = Target(kind="activations", activation="output", layers=("conv3", "fc"))
    question = Question(target, Data(paths=(small / "data.npz",)), Sampling(channels=0.3), 0.99, Machine(workers=1))
    found = find_ranges(small / "small.onnx", question)
    assert 35 <= found.seen.sum() <= 45
    for layer in found.layers:
        for seen, counts in enumerate(layer.counts[::-1]):
            print(f"\n{layer.id}, {'seen' if seen else 'unseen'}: {counts.tolist()}")
            assert counts[0, 0] >= 0.995 * counts[0].sum()
            assert counts[2, 1] >= 0.95 * counts[2].sum()
    seen = sum(layer.counts[0] for layer in found.layers)
    assert seen[0, 1] <= 0.001 * seen.sum()  # safe for every seen image, so hardly ever critical on one
    conv = found.layers[0]
    assert np.isin(np.abs(conv.ranges.high), [*LADDER, np.inf]).all()
    assert (conv.ranges.safe_high <= conv.ranges.high).all()
    assert (conv.ranges.safe_low >= conv.ranges.low).all()


def test_command_and_files(small: Path, tmp_path: Path) -> None:
    arguments = ["vigor", str(small / "small.onnx"), "--data", str(small / "data.npz"), "--method", "deepvigor"]
    arguments += ["--channel-sampling-ratio", "0.2", "--layers", "fc", "--workers", "1", "--out", str(tmp_path)]
    ran = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert "true non-c." in ran.output
    assert max(len(line) for line in ran.output.splitlines() if str(tmp_path) not in line) <= 80
    told = json.loads((tmp_path / "deepvigor.json").read_text())
    assert told["layers"][0]["unseen"]["true_non_critical"] > 0.99
    assert "accuracy lost" in ran.output
    with (tmp_path / "neurons.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == told["layers"][0]["neurons"] * 10
    nvf = [float(row["nvf"]) for row in rows]
    assert nvf == sorted(nvf, reverse=True)
    assert np.mean(nvf) == pytest.approx(told["layers"][0]["lvf"])
    with (tmp_path / "bits.csv").open() as file:
        bvf = {int(row["bit"]): float(row["value"]) for row in csv.DictReader(file)}
    assert np.mean(list(bvf.values())) == pytest.approx(told["layers"][0]["lvf"])
    assert max(bvf, key=lambda bit: bvf[bit]) in (30, 31)
    assert told["correlation"] is None  # of one layer there is none


def test_lvf_by_ranges_is_near_injection_and_goes_with_accuracy(small: Path) -> None:
    """Fig. 5: over the layers LVF and accuracy lost go together. LVF is close to the share of injected faults that are
    critical: ranges end on steps of an eighth of an octave, between which nothing is counted."""
    target = Target(kind="activations", activation="output")
    question = Question(target, Data(paths=(small / "data.npz",)), Sampling(channels=0.2), 0.99, Machine(workers=1))
    found = find_ranges(small / "small.onnx", question)
    for layer in found.layers:
        counts = layer.counts[0]
        injected = counts[:, 1].sum() / counts.sum()
        print(f"\n{layer.id}: LVF {100 * layer.lvf:.3f} %, injected {100 * injected:.3f} %, loss {layer.loss}")
        chance = 4 * np.sqrt(layer.lvf * (1 - layer.lvf) / counts.sum())  # four standard errors of the injection
        assert abs(layer.lvf - injected) < chance + 0.1 * layer.lvf
        assert layer.loss is not None
        assert -0.01 < layer.loss < 2 * injected + 0.01
    together = correlation(found)
    assert together is not None
    assert together.pearson is not None
    assert together.layers == 4
    assert together.pearson > 0.9


def test_deepvigor_is_about_outputs(small: Path) -> None:
    question = Question(Target(), Data(paths=(small / "data.npz",)), Sampling(), 0.99, Machine(workers=1))
    with pytest.raises(StudyError, match="--activation output"):
        find_ranges(small / "small.onnx", question)
