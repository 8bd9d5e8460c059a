"""Studies of fixed plans: what a plan draws, and its estimates against exhaustive truth."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import fake_engine
import numpy as np
import pytest
from fixed_study import IMAGES, KINDS, SEED, SPACE, TARGETS, fixed, no_weights, rates, run
from numpy.typing import NDArray

from onnxfi.errors import StudyError
from onnxfi.faults.bits import Word
from onnxfi.faults.space import FaultSpace, Region
from onnxfi.metrics.estimate import normal_deviate, sample_size
from onnxfi.study.adaptive import Tally
from onnxfi.study.classic import PILOT
from onnxfi.study.finding import Finding
from onnxfi.study.journal import Journal
from onnxfi.study.question import Question
from onnxfi.study.scheme import describe, make_scheme
from onnxfi.study.settings import Plan, Precision
from onnxfi.study.targets import LayerName, Targets


def truth() -> NDArray[np.float64]:
    """Share of the images on which each fault is critical, by fault id."""
    ids = np.arange(SPACE.size, dtype=np.uint64)
    trials = SPACE.trials(np.repeat(ids, IMAGES), np.tile(np.arange(IMAGES), len(ids)))
    return (fake_engine.records(trials)["outcome"] == 2).reshape(-1, IMAGES).mean(axis=1)


def truths(finding: Finding) -> list[float]:
    """The same rates, out of the truth, by plain means."""
    share = truth()
    region, _, bit = SPACE.locate(np.arange(SPACE.size))
    target = np.array([r.target for r in SPACE.regions])[region]
    layer = np.array([r.layer for r in SPACE.regions])[region]
    layers = [
        share[(target == name) & (layer == index)].mean() for name in ("weights", "activations") for index in range(3)
    ]
    found = [*layers, np.mean(layers[:3]), np.mean(layers[3:]), share.mean()]
    kinds = dict.fromkeys((stratum.target, stratum.bits) for stratum in finding.by_bits.strata)
    return found + [share[(target == name) & np.isin(bit, bits)].mean() for name, bits in kinds]


def test_exhaustive_is_the_truth(tmp_path: Path) -> None:
    finding = run(tmp_path / "study", fixed("exhaustive"))
    assert finding.reached
    assert finding.plan == {"kind": "exhaustive", "faults": SPACE.size}
    for estimate, expected in zip(rates(finding), truths(finding), strict=True):
        assert estimate.low == estimate.value == estimate.high == pytest.approx(expected, abs=1e-12)
    share = truth()
    for row in finding.channels:
        assert row.low == row.high == pytest.approx(row.value, abs=1e-12)
    weights = share[: SPACE.regions[0].population].reshape(4, -1)  # ids go site by site, so channel by channel
    assert [row.value for row in finding.channels[:4]] == pytest.approx(weights.mean(axis=1).tolist())


@pytest.mark.parametrize("kind", KINDS)
def test_estimates_hold_the_truth(kind: str, tmp_path: Path) -> None:
    """Of rates that one seed gives, each 99 % interval holds the exhaustive truth (23 to 27 of them a plan)."""
    finding = run(tmp_path / "study", fixed(kind))
    assert finding.reached
    assert finding.rates.trials.sum() == finding.plan["faults"] * IMAGES < SPACE.size * IMAGES
    for estimate, expected in zip(rates(finding), truths(finding), strict=True):
        assert estimate.low <= expected <= estimate.high


def test_crossed_estimates_have_no_bias() -> None:
    """Mean over 300 seeds of the MVF of weights, of 60 faults a layer, against the truth: within 4 standard errors."""
    asked = fixed("layer")
    share, weights = truth(), asked.scheme.factors.mvf("weights")
    assert weights is not None
    values = []
    for seed in range(300):
        question = Question(SPACE, asked.scheme.strata, IMAGES, seed, crossed=True)
        drawn = np.where(weights > 0, 60, 0)
        sums = np.zeros(len(weights))
        for unit in question.units(0, drawn, np.zeros(len(weights), np.int64)):
            faults = question.trials(unit)["fault"][::IMAGES]
            assert len(np.unique(faults)) == len(faults)
            at = np.repeat([piece.stratum for piece in unit.pieces], [p.stop - p.start for p in unit.pieces])
            np.add.at(sums, at, share[faults])
        values.append(float((weights * sums / np.maximum(drawn, 1)).sum()))
    expected = np.mean([share[:240].mean(), share[720:960].mean(), share[1440:1680].mean()])  # 40 x 6, then 80 x 6
    assert abs(np.mean(values) - expected) < 4 * np.std(values) / np.sqrt(len(values))


def test_a_pilot_measures_p_bit_by_bit(tmp_path: Path) -> None:
    """p of a bit is that of the pilot's faults, all layers together; the plan follows from it by the formula."""
    asked = fixed("data-aware", margin=0.1)
    assert asked.plan["p"] == {"source": "pilot"}
    assert asked.scheme.pilots == 1
    finding = run(tmp_path / "study", asked)
    p = {(row["target"], row["bit"]): row["p"] for row in finding.plan["p"]["bits"]}
    share, strata = truth(), asked.scheme.strata
    with Journal.read(tmp_path / "study") as journal:
        pilot, rest = journal.rounds()
        first = [result for result in journal.results() if result.unit.round == 0]
    assert pilot.tolist() == [PILOT] * len(strata)
    faults = np.unique(np.concatenate([result.records["fault"] for result in first]))
    region, _, bit = SPACE.locate(faults)
    weights = np.array([SPACE.regions[number].target == "weights" for number in region])
    critical = share[faults[weights & (bit == 30)]]
    assert len(critical) == 3 * PILOT
    assert p["weights", 30] == pytest.approx((critical.sum() + 0.5) / (3 * PILOT + 1), rel=1e-3)
    assert p["weights", 0] == pytest.approx(0.5 / 25)
    for stratum, drawn in zip(strata, pilot + rest, strict=True):
        n = float(sample_size(stratum.population, 0.1, normal_deviate(0.99), p[stratum.target, stratum.bits[0]]))
        assert abs(drawn - max(n, PILOT)) <= 1


def test_a_prefix_of_a_plan_is_a_plan(tmp_path: Path) -> None:
    """A wider margin draws the first of the same faults of every stratum."""
    coarse, fine = fixed("layer", 0.3), fixed("layer", 0.2)
    few, many = (asked.scheme.propose(Tally.empty(6)) for asked in (coarse, fine))
    assert few is not None and many is not None and (few < many).all()
    none = np.zeros(6, np.int64)
    drawn = [
        {int(fault) for unit in asked.question.units(0, n, none) for fault in asked.question.trials(unit)["fault"]}
        for asked, n in ((coarse, few), (fine, many))
    ]
    assert drawn[0] < drawn[1]


def test_a_plan_is_never_a_list() -> None:
    """The first of 8.4 million faults x 10,000 images are there at once; a unit is one fault on all images."""
    space = FaultSpace([Region("weights", "weight", 0, "w", 2**18, "float32", tuple(range(31, -1, -1)))])
    question = Question(space, space.strata(), 10_000, SEED, crossed=True)
    population = np.array([stratum.population for stratum in question.strata])
    units = list(islice(question.units(0, population, np.zeros_like(population)), 3))
    assert [len(question.trials(unit)) for unit in units] == [10_000] * 3


def region(target: Any, dtype: str) -> Targets:
    bits = tuple(range(Word(dtype).width - 1, -1, -1))
    kind: Any = "weight" if target == "weights" else "input"
    one = Region(target, kind, 0, "w", 100, dtype, bits)
    return Targets(FaultSpace([one]), (LayerName(0, "conv", "Conv"),), (), {}, {}, ())


def test_plans_that_make_no_sense_are_refused() -> None:
    asked = Precision()
    table, weights = Plan("data-aware", p="date23-table"), Plan("data-aware", p="weights")
    with pytest.raises(StudyError, match="is a table for float32, not for int8; use --p pilot or --p weights"):
        describe(table, asked, region("weights", "int8"), no_weights)
    for plan in (table, weights):
        with pytest.raises(StudyError, match=f"--p {plan.p} knows nothing of activations; use --target weights"):
            describe(plan, asked, region("activations", "float32"), no_weights)
    with pytest.raises(StudyError, match="--budget bounds an adaptive study, not a layer plan"):
        describe(Plan("layer"), Precision(budget=5), TARGETS, no_weights)
    with pytest.raises(StudyError, match="An adaptive study cannot be sharded"):
        Plan(shard=(1, 2))


def test_p_is_part_of_the_question() -> None:
    """Known before the first trial: bit 30 of the published table, and int8 words 0 to 3 by hand."""
    told_table = describe(Plan("data-aware", p="date23-table"), Precision(), region("weights", "float32"), no_weights)
    rows = {row["bit"]: row["p"] for row in told_table["p"]["bits"]}
    assert rows[30] == 0.4917 and rows[0] == 0.0001
    values = np.arange(4, dtype=np.int8)
    told_weights = describe(
        Plan("data-aware", p="weights"), Precision(), region("weights", "int8"), lambda name: values
    )
    assert [row["p"] for row in told_weights["p"]["bits"]] == [0.5] * 7 + [1e-4]
    scheme = make_scheme(told_weights, Precision(), region("weights", "int8"), IMAGES)
    assert scheme.pilots == 0
    assert scheme.settled([])["p"] == told_weights["p"]
