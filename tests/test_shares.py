"""How often the interval of a share, such as SCM of misclassifications, holds the truth: stratified, weighted samples.

The share is a ratio of two weighted sums over strata, each stratum's trials multinomial: of one kind, the other, or
neither. Each case is drawn a two hundred times, seeded; an interval at 90 % may fail in one of ten, and the bound is
three standard deviations of so many draws below that.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from onnxfi.faults.space import FaultSpace, Region
from onnxfi.metrics.combine import Bounds, share
from onnxfi.metrics.factors import Factors
from onnxfi.study.answers import Answers
from onnxfi.study.evidence import HIT, Evidence, bounds
from onnxfi.study.rates import Rates

DRAWS = 200
CONFIDENCE = 0.9
Array = NDArray[np.float64]


def _evidence(layers: int, words: NDArray[np.int64], trials: NDArray[np.int64]) -> Evidence:
    """A study of `layers` layers of so many words, every bit a stratum of its own, with so many trials in each."""
    bits = tuple(range(31, 31 - len(trials) // layers, -1))
    regions = [Region("weights", "weight", n, f"w{n}", int(words[n]), "float32", bits) for n in range(layers)]
    strata = FaultSpace(regions).strata()
    assert len(strata) == len(trials)
    rates = Rates(strata, trials, np.zeros((len(trials), 4), np.int64), 10**6, False, CONFIDENCE)
    answers = Answers(2, np.zeros(1, np.int64), np.ones(1), None)
    return Evidence(rates, Factors(strata, {"weights": list(range(layers))}), answers, {}, np.zeros(0, HIT))


def _interval(evidence: Evidence, one: NDArray[np.int64], other: NDArray[np.int64]) -> Bounds | None:
    """As study.scm has it."""
    weights = evidence.population("weights")
    assert weights is not None
    parts = (evidence.estimate(weights, count) for count in (one, other))
    return share(*map(bounds, parts), evidence.correlation(weights, one, other))


# layers, bits, trials of a stratum from and to, rate of misclassification from and to
CASES = {
    "every stratum well known": (5, 1, (100, 3000), (0.01, 0.05)),
    "one stratum, a plain multinomial": (1, 1, (50, 50), (0.9, 0.9)),
    "few trials, most of them wrong": (20, 1, (8, 60), (0.9, 0.999)),
    "few trials, anything between": (20, 2, (8, 200), (0.05, 0.98)),
    "some strata much, some next to nothing": (5, 3, (20, 400), (0.0005, 0.9)),
}
KINDS = {"alike everywhere": (0.3, 0.3), "another share in each stratum": (0.02, 0.98), "rare": (0.03, 0.03)}


def _coverage(case: str, kind: str, width: float = 1.0) -> tuple[float, int]:
    """How often the interval, made so many times as wide, holds the truth; of how many draws that show a share."""
    layers, bits, (fewest, most), (rarest, commonest) = CASES[case]
    chance = np.random.RandomState(1)
    strata = layers * bits
    words = np.round(10 ** chance.uniform(3, 5, layers)).astype(np.int64)
    evidence = _evidence(layers, words, chance.randint(fewest, most + 1, strata))
    wrong = np.exp(chance.uniform(np.log(rarest), np.log(commonest), strata))
    part = chance.uniform(*KINDS[kind], strata)
    weights = evidence.population("weights")
    assert weights is not None
    truth = weights @ (wrong * part) / (weights @ wrong)
    held = seen = 0
    for _ in range(DRAWS):
        drawn = np.array(
            [
                chance.multinomial(n, (p * s, p * (1 - s), 1 - p))
                for n, p, s in zip(evidence.rates.drawn, wrong, part, strict=True)
            ]
        )
        found = _interval(evidence, drawn[:, 0], drawn[:, 1])
        if found is not None:
            seen += 1
            low, high = (
                found.value - width * (found.value - found.low),
                found.value + width * (found.high - found.value),
            )
            held += low <= truth <= high
    return held / seen, seen


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES)
def test_the_interval_of_a_share_holds_it_as_often_as_it_says(case: str, kind: str) -> None:
    held, seen = _coverage(case, kind)
    assert seen > 0.9 * DRAWS
    assert held >= CONFIDENCE - 3 * np.sqrt(CONFIDENCE * (1 - CONFIDENCE) / seen)


def test_intervals_a_third_too_narrow_would_show() -> None:
    held, seen = _coverage("few trials, most of them wrong", "alike everywhere", 2 / 3)
    assert held < CONFIDENCE - 3 * np.sqrt(CONFIDENCE * (1 - CONFIDENCE) / seen)
