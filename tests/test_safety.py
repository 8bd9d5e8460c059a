"""SCM: every branch of the rule by hand, the groupings that are shipped, and what is wrong with a user's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxfi.errors import DataError
from onnxfi.metrics.safety import NON_SCM, SAME, SCM, load_groups, parse_groups, read_groups, shipped

# Two groups of A (people: 0, 1; cars: 2) and two of B (birds: 3, 4; trees: 5).
SMALL: dict[str, Any] = {
    "format": "onnxfi-groups-1",
    "name": "small",
    "source": "this test",
    "classes": ["boy", "girl", "car", "crow", "dove", "oak"],
    "ids": ["n0", "n1", "n2", "n3", "n4", "n5"],
    "groups": [
        {"name": "people", "supergroup": "A", "classes": [0, "girl"]},
        {"name": "cars", "supergroup": "A", "classes": ["n2"], "why": "they drive"},
        {"name": "birds", "supergroup": "B", "classes": [3, 4]},
        {"name": "trees", "supergroup": "B", "classes": [5]},
    ],
}


@pytest.mark.parametrize(
    ("reference", "predicted", "kind"),
    [
        (0, 0, SAME),  # no misclassification
        (3, 3, SAME),
        (0, 1, NON_SCM),  # within a group of A
        (3, 4, NON_SCM),  # within a group of B
        (0, 2, SCM),  # A to another group of A
        (0, 3, SCM),  # A to B
        (3, 0, NON_SCM),  # B to A: the rule is not symmetric
        (3, 5, NON_SCM),  # B to another group of B
    ],
)
def test_every_branch_of_the_rule(reference: int, predicted: int, kind: int) -> None:
    groups = parse_groups(SMALL, "small")
    assert groups.kind(np.array([reference]), np.array([predicted])).tolist() == [kind]


def test_shipped_groupings_are_whole() -> None:
    # Counts of classes in A and B: FORMATS of the published study for CIFAR-100 (40 and 60) and ImageNet (298 and 702);
    # ours for CIFAR-10 and GTSRB, counted by hand.
    wanted = {"cifar10": (6, 4), "cifar100": (40, 60), "gtsrb": (39, 4), "imagenet": (298, 702)}
    assert shipped() == tuple(wanted)
    for name, counts in wanted.items():
        groups = load_groups(name)
        found = {side: sum(len(g.classes) for g in groups.groups if g.supergroup == side) for side in "AB"}
        assert (found["A"], found["B"]) == counts
        assert read_groups(json.dumps(groups.to_dict()), name) == groups
        assert groups.source


@pytest.mark.parametrize("name", ["cifar10", "gtsrb"])
def test_groupings_of_our_own_say_so_and_why(name: str) -> None:
    groups = load_groups(name)
    assert "own" in groups.source
    assert all(group.why for group in groups.groups)


def test_published_facts() -> None:
    cifar, imagenet = load_groups("cifar100"), load_groups("imagenet")
    by_name = {g.name: len(g.classes) for g in cifar.groups}
    assert by_name["Two Wheelers"] == 2 and by_name["Small Animals"] == 30  # the study's own counts
    assert imagenet.ids[0] == "n01440764"  # tench
    assert imagenet.groups[imagenet.of(np.array([407]))[0]].name == "Emergency Vehicle"  # ambulance


@pytest.mark.shared
@pytest.mark.parametrize(("name", "published"), [("cifar100", "CIFAR-100"), ("imagenet", "ImageNet")])
def test_shipped_groupings_are_the_published_ones(shared_data: Path, name: str, published: str) -> None:
    facts = json.loads((shared_data / "scm_groups.json").read_text())["datasets"][published]
    groups = load_groups(name)
    found = [groups.groups[index].name for index in groups.of(np.arange(len(groups.classes)))]
    assert found == [facts["class_to_group"][str(number)] for number in range(len(found))]
    assert {g.name for g in groups.groups if g.supergroup == "A"} == set(facts["supergroup_A"])


def test_a_model_that_numbers_its_classes_otherwise() -> None:
    # 1 + 6 outputs: the first is none of the classes, as in nets of 1,001 classes.
    groups = parse_groups(SMALL, "small").arranged([None, 0, 1, 2, 3, 4, 5])
    groups.check(7)
    assert groups.kind(np.array([1, 1, 0]), np.array([2, 4, 1])).tolist() == [NON_SCM, SCM, NON_SCM]
    assert groups.classes[:2] == ("(no class)", "boy")
    with pytest.raises(DataError, match=r"No output of the model is class 5 \('oak'\)"):
        parse_groups(SMALL, "small").arranged([0, 1, 2, 3, 4])


def _without(key: str) -> dict[str, Any]:
    return {name: value for name, value in SMALL.items() if name != key}


def _groups(*groups: Any) -> dict[str, Any]:
    return {**SMALL, "groups": list(groups)}


REST = {"name": "rest", "supergroup": "B", "classes": [1, 2, 3, 4, 5]}


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([], 'does not say "format": "onnxfi-groups-1"'),
        (_without("format"), 'does not say "format"'),
        (_without("name"), 'has no "name"'),
        (_without("classes"), 'has no "classes"'),
        ({**SMALL, "classes": []}, 'has no "classes"'),
        ({**SMALL, "ids": ["n0"]}, '6 "classes" but 1 "ids"'),
        (_without("groups"), 'has no "groups"'),
        (_groups(7), "a group that is no object: 7"),
        (_groups({"supergroup": "A", "classes": [0]}), 'has no "name"'),
        (_groups({"name": "x", "supergroup": "C", "classes": [0]}), "Group 'x' of FILE has the supergroup 'C'"),
        (_groups({"name": "x", "supergroup": "A", "classes": []}), "Group 'x' of FILE has no \"classes\""),
        (_groups({"name": "x", "supergroup": "A", "classes": [6]}), "class 6, but classes count from 0 to 5"),
        (_groups({"name": "x", "supergroup": "A", "classes": [True]}), "class True, which is not among"),
        (_groups({"name": "x", "supergroup": "A", "classes": ["cow"]}), "class 'cow', which is not among"),
        (_groups({"name": "x", "supergroup": "A", "classes": [0, 1]}, REST), "class 1 ('girl') in 'x' and in 'rest'"),
        (_groups({"name": "rest", "supergroup": "A", "classes": [0]}, REST), "two groups called 'rest'"),
        (_groups(REST), "class 0 ('boy') in no group"),
        (_groups({"name": "x", "supergroup": "A", "classes": [0]}), "class 1 ('girl') and 4 more in no group"),
        ({**SMALL, "classes": ["boy"] * 2 + SMALL["classes"][2:], "groups": [
            {"name": "x", "supergroup": "A", "classes": ["boy"]}, REST]}, "two classes are called that"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_of_groups(values: Any, sentence: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_groups(values, "FILE")
    assert sentence in str(caught.value)


def test_files_that_are_not_there_or_no_json(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="neither a file nor one of the groupings cifar10, cifar100, gtsrb, imagenet"):
        load_groups("cifar1000")
    torn = tmp_path / "torn.json"
    torn.write_text('{"format": ')
    with pytest.raises(DataError, match="is not JSON"):
        load_groups(str(torn))
    with pytest.raises(DataError, match="the model has 10 outputs"):
        parse_groups(SMALL, "small").check(10)
