"""Safety-critical misclassification: which wrong answers matter.

Laskar et al., PRDC 2022. Classes fall into groups, groups into two supergroups: A, whose objects must not be taken for
something else, and B. Of a misclassification reference -> predicted:

    SCM       the two are in different groups, and the reference's group is in A
    non-SCM   every other one: within one group, or from a group of B

So A -> B and A -> another group of A are safety-critical, and B -> A is not.

A file of groups is JSON (`read_groups`):

    format    "onnxfi-groups-1"
    name      what it is called
    source    where it comes from
    note      anything else worth saying; may be left out
    classes   names by class number
    ids       other names by class number, such as wnids; may be left out
    groups    [{name, supergroup: "A" or "B", classes: class numbers, or names, or ids; why: may be left out}];
              every class is in one group
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from onnxfi.errors import DataError

FORMAT = "onnxfi-groups-1"
SAME, NON_SCM, SCM = 0, 1, 2

Supergroup = Literal["A", "B"]
Classes = NDArray[np.int64]


@dataclass(frozen=True)
class Group:
    """Classes of one kind, by number."""

    name: str
    supergroup: Supergroup
    classes: tuple[int, ...]
    why: str = ""


@dataclass(frozen=True)
class Groups:
    """Every class in one group. `classes`: names by class number; `ids`: other names of them, or none."""

    name: str
    source: str
    classes: tuple[str, ...]
    groups: tuple[Group, ...]
    note: str = ""
    ids: tuple[str, ...] = ()

    def of(self, classes: NDArray[Any]) -> Classes:
        """Index of the group of each class number, same shape."""
        table = np.zeros(len(self.classes), np.int64)
        for index, group in enumerate(self.groups):
            table[list(group.classes)] = index
        return np.asarray(table[classes])

    def kind(self, reference: NDArray[Any], predicted: NDArray[Any]) -> NDArray[np.uint8]:
        """SAME, NON_SCM or SCM of each pair of class numbers, (T,) both."""
        before, after = self.of(reference), self.of(predicted)
        critical = np.array([group.supergroup == "A" for group in self.groups])
        wrong = np.where((before != after) & critical[before], SCM, NON_SCM)
        return np.where(reference == predicted, SAME, wrong).astype(np.uint8)

    def check(self, outputs: int) -> None:
        """Raise DataError where a model with so many outputs cannot be told by these groups."""
        if outputs != len(self.classes):
            raise DataError(
                f"The groups {self.name!r} have {len(self.classes)} classes, but the model has {outputs} outputs; "
                "give the groups of its own classes, or --label-map where it numbers them otherwise."
            )

    def arranged(self, order: Sequence[int | None]) -> Groups:
        """The same for a model whose k-th output is the class `order[k]`; None: no class, which goes to a group of its
        own in B. Raises DataError where a class has no output."""
        if missing := set(range(len(self.classes))) - set(order):
            raise DataError(f"No output of the model is class {min(missing)} ({self.classes[min(missing)]!r}).")
        place = {number: output for output, number in enumerate(order)}
        groups = [
            Group(g.name, g.supergroup, tuple(sorted(place[number] for number in g.classes)), g.why)
            for g in self.groups
        ]
        if none := tuple(output for output, number in enumerate(order) if number is None):
            groups.append(Group("No class", "B", none, "An output of the model that is none of the classes."))

        def named(names: tuple[str, ...]) -> tuple[str, ...]:
            return tuple("(no class)" if number is None else names[number] for number in order)

        return Groups(
            self.name, self.source, named(self.classes), tuple(groups), self.note, named(self.ids) if self.ids else ()
        )

    def to_dict(self) -> dict[str, Any]:
        """The documented object."""
        values: dict[str, Any] = {"format": FORMAT, "name": self.name, "source": self.source}
        if self.note:
            values["note"] = self.note
        values["classes"] = list(self.classes)
        if self.ids:
            values["ids"] = list(self.ids)
        values["groups"] = [
            {"name": g.name, "supergroup": g.supergroup, "why": g.why, "classes": list(g.classes)} for g in self.groups
        ]
        return values


def shipped() -> tuple[str, ...]:
    """Names of the groupings that come with onnxfi."""
    return tuple(sorted(entry.name[:-5] for entry in _folder().iterdir() if entry.name.endswith(".json")))


def load_groups(name: str) -> Groups:
    """A shipped grouping by its name, or the user's own by the path of its file. Raises DataError."""
    if name in shipped():
        return read_groups(_folder().joinpath(f"{name}.json").read_text(encoding="utf-8"), name)
    path = Path(name)
    if not path.is_file():
        raise DataError(f"{name!r} is neither a file nor one of the groupings {', '.join(shipped())}.")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}); give a JSON file of groups.") from error
    return read_groups(text, str(path))


def read_groups(text: str, where: str) -> Groups:
    """Groups from JSON text; `where` names it in messages. Raises DataError for the first thing that is wrong."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not JSON ({error}).") from error
    return parse_groups(values, where)


def parse_groups(values: Any, where: str) -> Groups:
    """Groups from the documented object. Raises DataError."""
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise DataError(f'{where} is not a file of groups: it does not say "format": "{FORMAT}".')
    classes = _texts(values, "classes", where)
    ids = _texts(values, "ids", where) if "ids" in values else ()
    if not classes:
        raise DataError(f'{where} has no "classes".')
    if ids and len(ids) != len(classes):
        raise DataError(f'{where} has {len(classes)} "classes" but {len(ids)} "ids".')
    if not isinstance(values.get("groups"), list):
        raise DataError(f'{where} has no "groups".')
    numbers = _numbers(classes, ids)
    groups = tuple(_group(entry, numbers, len(classes), where) for entry in values["groups"])
    _check_cover(groups, classes, where)
    return Groups(
        _text(values, "name", where), _text(values, "source", where), classes, groups, str(values.get("note", "")), ids
    )


def _folder() -> Any:
    return files("onnxfi.metrics").joinpath("groups")


def _text(values: Mapping[str, Any], key: str, where: str) -> str:
    text = values.get(key)
    if not isinstance(text, str) or not text:
        raise DataError(f'{where} has no "{key}", or it is no text.')
    return text


def _texts(values: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    texts = values.get(key)
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise DataError(f'{where} has no "{key}", or it is no list of texts.')
    return tuple(texts)


def _numbers(classes: Sequence[str], ids: Sequence[str]) -> dict[str, int | None]:
    """Class number by name and id; None for a name that two classes have."""
    found: dict[str, int | None] = {}
    for names in (classes, ids):
        for number, name in enumerate(names):
            found[name] = None if found.get(name, number) != number else number
    return found


def _group(entry: Any, numbers: Mapping[str, int | None], count: int, where: str) -> Group:
    if not isinstance(entry, dict):
        raise DataError(f"{where} has a group that is no object: {entry!r}.")
    name = _text(entry, "name", f"A group of {where}")
    here = f"Group {name!r} of {where}"
    if entry.get("supergroup") not in ("A", "B"):
        raise DataError(f'{here} has the supergroup {entry.get("supergroup")!r}; give "A" or "B".')
    if not isinstance(entry.get("classes"), list) or not entry["classes"]:
        raise DataError(f'{here} has no "classes".')
    members = tuple(_member(member, numbers, count, here) for member in entry["classes"])
    return Group(name, cast(Supergroup, entry["supergroup"]), members, str(entry.get("why", "")))


def _member(member: Any, numbers: Mapping[str, int | None], count: int, here: str) -> int:
    if isinstance(member, int) and not isinstance(member, bool):
        if not 0 <= member < count:
            raise DataError(f"{here} has class {member}, but classes count from 0 to {count - 1}.")
        return member
    if not isinstance(member, str) or member not in numbers:
        raise DataError(f'{here} has class {member!r}, which is not among "classes" or "ids".')
    number = numbers[member]
    if number is None:
        raise DataError(f"{here} has class {member!r}, and two classes are called that; give its number.")
    return number


def _check_cover(groups: Sequence[Group], classes: Sequence[str], where: str) -> None:
    home: dict[int, str] = {}
    names: set[str] = set()
    for group in groups:
        if group.name in names:
            raise DataError(f"{where} has two groups called {group.name!r}.")
        names.add(group.name)
        for number in group.classes:
            if number in home:
                raise DataError(
                    f"{where} has class {number} ({classes[number]!r}) in {home[number]!r} and in {group.name!r}; "
                    "every class is in one group."
                )
            home[number] = group.name
    missing = [number for number in range(len(classes)) if number not in home]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DataError(f"{where} has class {missing[0]} ({classes[missing[0]]!r}){more} in no group.")
