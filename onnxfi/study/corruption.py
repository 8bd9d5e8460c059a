"""How a study's faults corrupt answers: SDC of each kind, and what becomes of the accuracy."""

from __future__ import annotations

from dataclasses import dataclass

from onnxfi.faults.space import Target
from onnxfi.metrics.combine import difference
from onnxfi.metrics.estimate import Estimate
from onnxfi.study.evidence import Evidence, bounds


@dataclass(frozen=True)
class Corruption:
    """Of one target, every fault equally likely; the rates of metrics.sdc as shares of trials.

    sdc_5           None where the model has five classes or fewer, of which the fault-free top-1 is always one
    accuracy        share of trials whose answer is the label; None without labels, as the next
    accuracy_loss   the fault-free accuracy less that; below 0 where faults mend more answers than they break
    """

    target: Target
    sdc_1: Estimate
    sdc_5: Estimate | None
    sdc_10: Estimate
    sdc_20: Estimate
    non_finite: Estimate
    accuracy: Estimate | None
    accuracy_loss: Estimate | None


def corruption(evidence: Evidence) -> tuple[Corruption, ...]:
    """For each target of the study."""
    return tuple(_of(evidence, target) for target in evidence.factors.targets)


def _of(evidence: Evidence, target: Target) -> Corruption:
    weights = evidence.population(target)
    assert weights is not None
    rates = {name: evidence.estimate(weights, evidence.seen[name]) for name in evidence.seen}
    accuracy, loss = _accuracy(evidence, target, rates) if "broke" in rates else (None, None)
    return Corruption(
        target,
        rates["sdc_1"],
        rates["sdc_5"] if evidence.answers.outputs > 5 else None,
        rates["sdc_10"],
        rates["sdc_20"],
        rates["non_finite"],
        accuracy,
        loss,
    )


def _accuracy(evidence: Evidence, target: Target, rates: dict[str, Estimate]) -> tuple[Estimate, Estimate]:
    """Answers broken less answers mended: the fault-free accuracy is known, so what faults change is all that is
    estimated, and the interval is as narrow as that."""
    weights, right = evidence.population(target), evidence.answers.right
    assert weights is not None and right is not None
    correlation = evidence.correlation(weights, evidence.seen["broke"], evidence.seen["mended"])
    loss = difference(bounds(rates["broke"]), bounds(rates["mended"]), correlation)
    golden = float(right.mean())
    trials, population = rates["broke"].trials, rates["broke"].population
    seen = trials > 0
    return (
        Estimate(
            golden - loss.value if seen else None,
            max(golden - loss.high, 0.0),
            min(golden - loss.low, 1.0),
            trials,
            population,
        ),
        Estimate(loss.value if seen else None, loss.low, loss.high, trials, population),
    )
