"""Safety-critical misclassification in a study: without faults, and under them in the settings of Laskar et al.

The settings are told apart by what the fault-free model makes of the image. The reference of a misclassification is
the label without faults, and the fault-free answer under them (on correctly classified images that is the label, too).
Shares are of misclassifications: SCM and non-SCM add up to 1. A trial with a non-finite logit has no answer, and is
neither; `sdc` counts it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from onnxfi.faults.space import Target
from onnxfi.metrics.combine import Bounds, binomial, share
from onnxfi.metrics.estimate import Estimate
from onnxfi.metrics.safety import NON_SCM, SAME, SCM, Groups
from onnxfi.study.answers import Answers
from onnxfi.study.evidence import Evidence, bounds

SettingName = Literal["all", "correct", "wrong", "wrong_scm", "wrong_non_scm"]


@dataclass(frozen=True)
class FaultFree:
    """The fault-free model's own mistakes on its images, `scm` of `wrong` of `images`; its share is binomial."""

    images: int
    wrong: int
    scm: int
    share: Estimate | None


@dataclass(frozen=True)
class Setting:
    """Trials on the images of one kind.

    images   of that kind
    sdc      share of trials that are critical
    scm      share of trials that are safety-critical misclassifications
    share    of SCM among misclassifications; None where there was none
    """

    name: SettingName
    target: Target
    images: int
    sdc: Estimate
    scm: Estimate
    share: Estimate | None


def fault_free(answers: Answers, groups: Groups, confidence: float) -> FaultFree | None:
    """None without labels."""
    if answers.labels is None:
        return None
    kinds = groups.kind(answers.labels, answers.top1)
    scm, wrong = int((kinds == SCM).sum()), int((kinds != SAME).sum())
    found = _estimate(binomial(scm, wrong, confidence), wrong, wrong) if wrong else None
    return FaultFree(len(kinds), wrong, scm, found)


def image_kinds(answers: Answers, groups: Groups) -> dict[SettingName, NDArray[np.bool_]]:
    """bool (N,): the images of each setting that there are any of."""
    found: dict[SettingName, NDArray[np.bool_]] = {"all": np.ones(len(answers.top1), bool)}
    if answers.labels is not None:
        kinds = groups.kind(answers.labels, answers.top1)
        found |= {"correct": kinds == SAME, "wrong": kinds != SAME}
        found |= {"wrong_scm": kinds == SCM, "wrong_non_scm": kinds == NON_SCM}
    return {name: images for name, images in found.items() if images.any()}


def settings(evidence: Evidence, groups: Groups) -> tuple[Setting, ...]:
    """Every setting of every target, every fault of the target equally likely."""
    hits, answers = evidence.hits, evidence.answers
    answered = hits["finite"] == 1
    # Without an answer `top1` is the place of a NaN; it is put out of the way.
    after = np.where(answered, hits["top1"], answers.top1[hits["image"]])
    kind = groups.kind(answers.top1[hits["image"]], after)
    found = []
    for target in evidence.factors.targets:
        weights = evidence.population(target)
        assert weights is not None
        for name, images in image_kinds(answers, groups).items():
            here, part = images[hits["image"]], float(images.mean())
            counts = [evidence.counted(here & chosen) for chosen in (here, kind == SCM, kind == NON_SCM)]
            sdc, scm, other = (evidence.estimate(weights, count, part) for count in counts)
            correlation = evidence.correlation(weights, counts[1], counts[2])
            ratio = share(bounds(scm), bounds(other), correlation)
            found.append(
                Setting(
                    name,
                    target,
                    int(images.sum()),
                    sdc,
                    scm,
                    None if ratio is None else _estimate(ratio, scm.trials, scm.population),
                )
            )
    return tuple(found)


def _estimate(limits: Bounds, trials: int, population: int) -> Estimate:
    return Estimate(limits.value, limits.low, limits.high, trials, population)
