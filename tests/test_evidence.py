"""What a study's trials mean, against hand counts: SDC, accuracy, SCM in every setting, fragile places."""

from __future__ import annotations

import numpy as np
import pytest

from onnxfi.faults.space import FaultSpace, Region
from onnxfi.metrics.factors import Factors
from onnxfi.metrics.outcome import CRITICAL, MASKED, NON_CRITICAL, RECORD, top1
from onnxfi.metrics.safety import parse_groups
from onnxfi.study.answers import Answers
from onnxfi.study.confusion import confusion
from onnxfi.study.corruption import corruption
from onnxfi.study.evidence import Evidence, gather
from onnxfi.study.fragile import class_turns, turns, weak_classes, weak_images
from onnxfi.study.rates import Rates
from onnxfi.study.result import Cost, Result
from onnxfi.study.scm import fault_free, settings
from onnxfi.study.units import Piece, Unit

# Two strata of one layer, bits 31 and 30 of 1,000 words: each is half of the population.
SPACE = FaultSpace([Region("weights", "weight", 0, "w", 1000, "float32", (31, 30))])
STRATA = SPACE.strata()
FACTORS = Factors(STRATA, {"weights": [0]})

# Classes 0, 1 are people and 2 a car (group A); 3, 4 are birds and 5 a tree (B).
GROUPS = parse_groups(
    {
        "format": "onnxfi-groups-1",
        "name": "small",
        "source": "this test",
        "classes": ["boy", "girl", "car", "crow", "dove", "oak"],
        "groups": [
            {"name": "people", "supergroup": "A", "classes": [0, 1]},
            {"name": "cars", "supergroup": "A", "classes": [2]},
            {"name": "birds", "supergroup": "B", "classes": [3, 4]},
            {"name": "trees", "supergroup": "B", "classes": [5]},
        ],
    },
    "small",
)

# Four images: two right (a boy, a crow), a boy taken for a car (SCM), a dove taken for a boy (non-SCM).
ANSWERS = Answers(
    6,
    top1=np.array([0, 3, 2, 0]),
    confidence=np.full(4, 0.5),
    labels=np.array([0, 3, 0, 4]),
    classes=GROUPS.classes,
)

# (image, outcome, finite, rank, confidence, top1): ten trials at bit 31, then ten at bit 30.
QUIET = (0, MASKED, 1, 0, 0.5, 0)
TRIALS = [
    *[QUIET] * 8,
    (0, NON_CRITICAL, 1, 0, 0.4, 0),  # confidence moves by 20 %: more than 10, not more than 20
    (1, CRITICAL, 1, 5, 0.1, 0),  # crow -> boy: breaks a right answer; B -> A is non-SCM
    *[QUIET] * 5,
    (0, CRITICAL, 1, 1, 0.1, 2),  # boy -> car: breaks; SCM
    (0, CRITICAL, 0, 0, np.nan, 1),  # no answer: breaks; neither SCM nor non-SCM
    (2, CRITICAL, 1, 1, 0.1, 0),  # car -> boy: mends; SCM, on an image that was SCM
    (3, CRITICAL, 1, 1, 0.1, 1),  # boy -> girl: wrong before and after; within a group: non-SCM
    (3, CRITICAL, 1, 1, 0.1, 3),  # boy -> crow: wrong before and after; SCM
]


def _evidence(answers: Answers = ANSWERS) -> Evidence:
    records = np.zeros(20, RECORD)
    for field, column in zip(
        ("image", "outcome", "finite", "rank", "confidence", "top1"), zip(*TRIALS, strict=True), strict=True
    ):
        records[field] = column
    result = Result(Unit(0, 0, (Piece(0, 0, 10), Piece(1, 0, 10))), records, Cost())
    rates = Rates(STRATA, np.array([10, 10]), result.counts(), 4, False, 0.95)
    return gather([result], rates, FACTORS, answers)


def test_sdc_by_hand() -> None:
    (found,) = corruption(_evidence())
    # Critical: 1 of 10 at bit 31 and 5 of 10 at bit 30; each bit weighs one half.
    assert found.sdc_1.value == pytest.approx((0.1 + 0.5) / 2)
    assert found.sdc_5 is not None and found.sdc_5.value == pytest.approx((0.1 + 0.1) / 2)  # rank 5; no answer
    assert found.sdc_10.value == pytest.approx((0.2 + 0.5) / 2)
    assert found.sdc_20.value == pytest.approx((0.1 + 0.5) / 2)
    assert found.non_finite.value == pytest.approx(0.1 / 2)
    for estimate in (found.sdc_1, found.sdc_10, found.non_finite):
        assert estimate.value is not None and estimate.low < estimate.value < estimate.high
        assert (estimate.trials, estimate.population) == (20, 2000)


def test_accuracy_by_hand() -> None:
    (found,) = corruption(_evidence())
    # Broken 1 and 2 of 10, mended 0 and 1 of 10: lost (0.3 - 0.1) / 2, from 2 of 4 right.
    assert found.accuracy_loss is not None and found.accuracy is not None
    assert found.accuracy_loss.value == pytest.approx(0.1)
    assert found.accuracy.value == pytest.approx(0.4)
    assert found.accuracy.low == pytest.approx(0.5 - found.accuracy_loss.high)
    assert found.accuracy.high == pytest.approx(0.5 - found.accuracy_loss.low)


def test_without_labels_there_is_no_accuracy() -> None:
    (found,) = corruption(_evidence(Answers(5, ANSWERS.top1, ANSWERS.confidence, None)))
    assert found.accuracy is None and found.accuracy_loss is None
    assert found.sdc_5 is None  # five classes: the golden one is always among the first five


def test_scm_without_faults() -> None:
    found = fault_free(ANSWERS, GROUPS, 0.95)
    assert found is not None and found.share is not None
    assert (found.images, found.wrong, found.scm) == (4, 2, 1)
    # 1 of 2 at 95 %, Clopper and Pearson: 1 - 0.975 ** (1 / 2) to its mirror.
    assert (found.share.low, found.share.high) == pytest.approx((1 - 0.975**0.5, 0.975**0.5))


def test_scm_in_every_setting_by_hand() -> None:
    found = {setting.name: setting for setting in settings(_evidence(), GROUPS)}
    assert [found[name].images for name in found] == [4, 2, 2, 1, 1]
    # (critical, SCM, non-SCM) at bits 31 and 30 of 10 each, halved, and over the share of such images.
    wanted = {
        "all": ((0.1 + 0.5) / 2 / 1.0, 0.3 / 2 / 1.0, 3 / 5),
        "correct": ((0.1 + 0.2) / 2 / 0.5, 0.1 / 2 / 0.5, 1 / 2),
        "wrong": (0.3 / 2 / 0.5, 0.2 / 2 / 0.5, 2 / 3),
        "wrong_scm": (0.1 / 2 / 0.25, 0.1 / 2 / 0.25, 1.0),
        "wrong_non_scm": (0.2 / 2 / 0.25, 0.1 / 2 / 0.25, 1 / 2),
    }
    for name, (sdc, scm, share) in wanted.items():
        setting = found[name]  # type: ignore[index]
        assert setting.sdc.value == pytest.approx(sdc)
        assert setting.scm.value == pytest.approx(scm)
        assert setting.share is not None and setting.share.value == pytest.approx(share)
        assert setting.share.low < share <= setting.share.high


def test_fragile_images_and_classes_by_hand() -> None:
    evidence = _evidence()
    images = {weak.number: weak.rate.value for weak in weak_images(evidence, "weights")}
    # Image 1 has one hit at bit 31; 0 and 3 have two each at bit 30, 2 has one: over a quarter of the images.
    assert images == pytest.approx({0: 0.4, 3: 0.4, 1: 0.2, 2: 0.2})
    classes = {weak.number: (weak.images, weak.rate.value) for weak in weak_classes(evidence, "weights")}
    assert classes[0] == (2, pytest.approx(0.4 / 2 / 0.5))  # two images are taken for boys
    assert classes[3] == (1, pytest.approx(0.1 / 2 / 0.25))


def test_turns_by_hand() -> None:
    evidence = _evidence()
    found = {(turn.before, turn.after): turn.rate.value for turn in turns(evidence, "weights", GROUPS.of(np.arange(6)))}
    # People 0, cars 1, birds 2; no answer -1. People are the answer to half of the images, the others to a quarter.
    assert found == pytest.approx({(2, 0): 0.2, (0, 1): 0.1, (0, -1): 0.1, (1, 0): 0.2, (0, 0): 0.1, (0, 2): 0.1})
    first = class_turns(evidence, "weights")[0]
    assert (first.before, first.after, first.rate.value) == (2, 0, pytest.approx(0.2))


def test_confusion_matrix_by_hand() -> None:
    evidence = _evidence()
    by_class, by_group = confusion(evidence, "weights"), confusion(evidence, "weights", GROUPS)
    assert by_class.names == GROUPS.classes and by_group.names == ("people", "cars", "birds", "trees")
    # Of the boys' trials (half of the images): to a car, a girl, a crow and no answer once each at bit 30.
    cells = {(turn.before, turn.after): turn.rate.value for turn in by_class.cells}
    assert cells == pytest.approx({(0, 1): 0.1, (0, 2): 0.1, (0, 3): 0.1, (0, -1): 0.1, (2, 0): 0.2, (3, 0): 0.2})
    stays = {turn.before: turn.rate.value for turn in by_class.stays}
    assert stays == pytest.approx({0: 0.6, 2: 0.8, 3: 0.8})  # every row adds up to 1
    # By group the girl is no change: people keep her.
    assert (0, 0) not in {(turn.before, turn.after) for turn in by_group.cells}
    assert {turn.before: turn.rate.value for turn in by_group.stays} == pytest.approx({0: 0.7, 1: 0.8, 2: 0.8})
    boys = by_class.stays[0].rate
    assert boys.value is not None and boys.low < boys.value < boys.high <= 1


def test_answers_come_back() -> None:
    logits = np.array([[0.0, 2.0], [3.0, 0.5]], np.float32)
    said = Answers(2, np.array([1, 0]), np.array([0.8807971, 0.9241418]), None, None, ("a.png", "b.png"))
    back = Answers.restore(said.to_dict())
    assert back.top1.tolist() == [1, 0] and back.labels is None and back.image_name(1) == "b.png"
    # softmax: 1 / (1 + e**-2) and 1 / (1 + e**-2.5)
    assert top1(logits, logits)["confidence"] == pytest.approx([1 / (1 + np.exp(-2)), 1 / (1 + np.exp(-2.5))])
