"""What each tool calls masked and critical, on logits made by hand: NaN, infinities, ties and minus zero."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from onnxfi.faults.forms import NanRule
from onnxfi.faults.listing import Counts, Scores
from onnxfi.metrics.facts import FACTS, TALLY, add_up, counts, judge, sums

NAN, INF = np.nan, np.inf
GOLDEN = [1.0, 3.0, 0.0]

# faulty logits (golden: 1, 3, 0, top-1 is 1) -> under each rule 'm', 'n' or 'c'. By hand from numpy's documented
# behaviour: == is false of a NaN and true of -0 and 0; argmax takes the first NaN, else the first of equals;
# argpartition sorts a NaN behind every number.
CASES = {
    "the same": ([1.0, 3.0, 0.0], "mmm"),
    "minus zero": ([1.0, 3.0, -0.0], "nmm"),
    "another logit": ([1.5, 3.0, 0.0], "nnn"),
    "another class": ([4.0, 3.0, 0.0], "ccc"),
    "NaN elsewhere": ([NAN, 3.0, 0.0], "ccc"),
    "NaN in the golden class": ([1.0, NAN, 0.0], "cnn"),
    "infinite golden class": ([1.0, INF, 0.0], "cnn"),
    "minus infinity elsewhere": ([-INF, 3.0, 0.0], "cnn"),
    "infinity elsewhere": ([1.0, 3.0, INF], "ccc"),
    "tie, golden class second": ([3.0, 3.0, 0.0], "cc?"),  # argpartition takes one of the two
}
RULES: tuple[NanRule, ...] = get_args(NanRule)


def one(faulty: list[float], rule: NanRule) -> str:
    judged = judge(np.array([GOLDEN], np.float32), np.array([faulty], np.float32), np.array([1]), None)
    found = counts(add_up(np.zeros(1, np.int64), judged)[0], rule)
    assert found.images == found.injections == 1
    return {(1, 0, 0): "m", (0, 1, 0): "n", (0, 0, 1): "c"}[found.masked, found.non_critical, found.critical]


@pytest.mark.parametrize("case", CASES)
def test_each_rule_on_each_case(case: str) -> None:
    faulty, wanted = CASES[case]
    for rule, outcome in zip(RULES, wanted, strict=True):
        assert outcome == "?" or one(faulty, rule) == outcome, (case, rule)


def test_a_tie_may_be_masked_and_critical_to_one_tool() -> None:
    """keras_weight_injector subtracts: one masked image whose tie goes the other way leaves -1 non-critical."""
    tally = np.zeros(1, TALLY)
    tally["images"], tally["equal"], tally["robust1"] = 5, 5, 4
    assert counts(tally[0], "keras-weight-injector") == Counts(5, 5, -1, 1)


def test_labels_count_as_a_report_does() -> None:
    golden = np.tile(np.arange(8, dtype=np.float32), (3, 1))
    faulty = golden.copy()
    faulty[1, 0] = 9  # top-1 is 0, the golden 7 is second
    faulty[2, :6] = 20 + np.arange(6)  # 7 is beyond the top 5
    judged = judge(golden, faulty, np.full(3, 7), np.array([7, 0, 1]))
    tally = sums(add_up(np.zeros(3, np.int64), judged), 1)[0]
    # By hand: label first in rows 0 and 1; of row 2, label 1 is fifth of 5, 4, 3, 2, 1.
    assert counts(tally, "onnxfi", labels=True) == Counts(3, 1, 0, 2, Scores(2, 3, 1, 2))


def test_tallies_of_parts_add_up_to_the_whole() -> None:
    rng = np.random.default_rng(0)
    golden = rng.normal(size=(40, 5)).astype(np.float32)
    faulty = np.where(rng.random((40, 5)) < 0.2, rng.normal(size=(40, 5)), golden).astype(np.float32)
    row = np.repeat([3, 1, 0, 2], 10)
    judged = judge(golden, faulty, golden.argmax(axis=1), None)
    whole = sums(add_up(row, judged), 5)
    halves = np.concatenate([add_up(row[part], judged[part]) for part in (slice(0, 15), slice(15, 40))])
    assert np.array_equal(sums(halves, 5), whole)
    assert whole["images"].tolist() == [10, 10, 10, 10, 0]
    for name in FACTS:
        assert whole[name].sum() == judged[name].sum()
