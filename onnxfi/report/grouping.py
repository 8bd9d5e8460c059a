"""Groups of classes in the terminal and as text; a file of them to begin with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from onnxfi.metrics.safety import Group, Groups
from onnxfi.report.tables import plain, table, titled


def blocks(groups: Groups) -> Iterator[RenderableType]:
    """Every block, in reading order."""
    yield Text.assemble((plain(groups.name), "bold"), f": {plain(groups.source)}")
    if groups.note:
        yield Text(plain(groups.note))
    made = table("group", "in", "classes", "which")
    made.columns[1].justify = "left"
    made.columns[3].justify, made.columns[3].no_wrap = "left", False
    for group in groups.groups:
        names = ", ".join(plain(groups.classes[number]) for number in group.classes)
        made.add_row(Text(plain(group.name)), group.supergroup, str(len(group.classes)), Text(names))
    yield titled("Groups", made)
    for group in groups.groups:
        if group.why:
            yield Text.assemble((f"{plain(group.name)} in {group.supergroup}: ", "bold"), plain(group.why))


def draft(classes: Sequence[str]) -> Groups:
    """Each class in a group of its own, in B: to be merged, and moved to A, by hand."""
    groups = tuple(Group(f"{number}: {name}", "B", (number,)) for number, name in enumerate(classes))
    return Groups("my groups", "who decided, and how", tuple(classes), groups, "Merge groups; move to A what matters.")


def to_json(groups: Groups) -> str:
    """The documented form, a group a line."""
    values = groups.to_dict()
    rows = [f"    {json.dumps(group, ensure_ascii=False)}" for group in values.pop("groups")]
    lines = [f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}," for key, value in values.items()]
    return "\n".join(["{", *lines, '  "groups": [', ",\n".join(rows), "  ]", "}"]) + "\n"
