"""Parity in the terminal: the answer, what matched, how both fail, and where they do not agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from onnxfi.report.parity_trials import OUTCOMES
from onnxfi.report.tables import plain, table, titled
from onnxfi.report.words import SETTINGS

_SHOWN = 10  # rows of a table of exceptions; the files have all of them
_FORMS = {"stored": "stored", "folded": "folded", "shape": "shape only"}


def blocks(found: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Every block, in reading order, of the object of parity.json."""
    for side in ("a", "b"):
        yield Text.assemble((f"{side.upper()}  ", "bold"), plain(found[side]["model"]))
    yield Text(f"\n{plain(found['answer'])}", style="bold")
    for warning in found["warnings"]:
        yield Text.assemble(("Note ", "bold yellow"), plain(warning))
    if found["match"]:
        yield _pairs(found["match"])
        yield from _unmatched(found)
        yield _clean(found["clean"])
    yield from _cells(found)
    yield from _rates(found)
    yield from _channels(found)
    yield from _disagreements(found)
    yield from _scm(found)
    yield from _vigor(found)


def _pairs(match: Mapping[str, Any]) -> RenderableType:
    made = table("layer of A", "layer of B", "told by", "weights", "outputs")
    for column in made.columns[1:3]:
        column.justify = "left"
    made.columns[1].no_wrap = False
    for row in match["pairs"]:
        told = "same bits" if row["identical"] else _FORMS[row["form"]]
        told += " *" if row["rivals"] else ""
        made.add_row(
            Text(plain(row["layer_a"])),
            Text(plain(row["layer_b"])),
            told,
            small(row["weights"]),
            small(row["outputs"]),
        )
    title = "Layers, and how far their weights and answers differ, relative to the largest"
    if any(row["rivals"] for row in match["pairs"]):
        title += "\n* other layers have the same weights: told apart by place"
    return titled(title, made)


def small(value: float | None) -> str:
    """'1.2e-07', '0', or a dash where it is not known."""
    return "-" if value is None else f"{value:.1e}" if value else "0"


def _unmatched(found: Mapping[str, Any]) -> Iterator[RenderableType]:
    rows = [(row["side"].upper(), row["layer"], row["why"]) for row in found["match"]["unmatched"]]
    if rows:
        made = table("", "layer", "why")
        for column in made.columns[1:]:
            column.justify, column.no_wrap = "left", False
        for side, layer, why in rows:
            made.add_row(side, Text(plain(layer)), Text(plain(why)))
        yield titled("Layers without a twin", made)
    if found["left_out"]:
        made = table("")
        made.show_header = False
        for sentence in _some(found["left_out"]):
            made.add_row(Text(plain(sentence)))
        yield titled("Faults that could not be repeated", made)


def _some(rows: Sequence[Any]) -> list[Any]:
    return list(rows[:_SHOWN]) + ([f"and {len(rows) - _SHOWN} more"] if len(rows) > _SHOWN else [])


def _clean(clean: Mapping[str, Any]) -> RenderableType:
    lines = ["logits are of different types, and are not compared"]
    if clean["difference"] is not None:
        apart = f"at most {clean['difference']:.2g} (of up to {clean['largest']:.3g}), {clean['mean']:.1e} on average"
        lines = [f"logits differ by {apart}"]
    lines.append(f"top-1 agrees on {clean['agree']:,} of {clean['images']:,} images")
    if clean["differ"]:
        lines.append("not on image " + ", ".join(map(str, _some(clean["differ"]))))
    if clean["top1_a"] is not None:
        lines.append(f"right: A {100 * clean['top1_a']:.2f} %, B {100 * clean['top1_b']:.2f} %")
    made = table("")
    made.show_header = False
    for line in lines:
        made.add_row(line)
    return titled("Without faults", made)


def _cells(found: Mapping[str, Any]) -> Iterator[RenderableType]:
    for target, cells in found["cells"].items():
        counts = found["confusion"][target]
        made = table("A \\ B", *OUTCOMES)
        for i, name in enumerate(OUTCOMES):
            made.add_row(name, *(f"{count:,}" for count in counts[i]))
            made.add_row("", *(Text(rate(cell), style="dim") for cell in cells[i]))
        many = f"{sum(map(sum, counts)):,} trials in {target}"
        yield titled(f"How {many} end: counts, and % of the faults with their {_confidence(found)} interval", made)


def _confidence(found: Mapping[str, Any]) -> str:
    return f"{100 * found['confidence']:g} %"


def rate(values: Mapping[str, Any]) -> str:
    """'1.28 [1.18, 1.39]', in percent."""
    if values["value"] is None:
        return "-"
    return f"{100 * values['value']:.2f} [{100 * values['low']:.2f}, {100 * values['high']:.2f}]"


def points(values: Mapping[str, Any]) -> str:
    """'+0.03 [-0.01, +0.07]', in percentage points."""
    return f"{100 * values['value']:+.2f} [{100 * values['low']:+.2f}, {100 * values['high']:+.2f}]"


def _rates(found: Mapping[str, Any]) -> Iterator[RenderableType]:
    kind = "paired difference" if found["paired"] else "difference of independent trials"
    yield from _changes(found, f"and the {kind}, with {_confidence(found)} intervals", "Vulnerability of")


def _changes(found: Mapping[str, Any], more: str, what: str) -> Iterator[RenderableType]:
    """A table for each target: MVF, and the LVF of every layer."""
    for target, row in found["mvf"].items():
        made = table("layer", "A", "B", "A less B")
        made.add_row(Text("MVF", style="bold"), *_sides(row))
        for each in found["layers"]:
            if each["target"] == target:
                made.add_row(Text(plain(each["layer_a"])), *_sides(each))
        yield titled(f"{what} {target}, %, {more}", made)


def _sides(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return rate(row["a"]), rate(row["b"]), points(row["difference"])


def _channels(found: Mapping[str, Any]) -> Iterator[RenderableType]:
    rows = found["channels"]
    if not rows:
        return
    apart = [row for row in rows if row["difference"]["low"] > 0 or row["difference"]["high"] < 0]
    apart.sort(key=lambda row: -abs(row["difference"]["value"]))
    line = f"\n{len(rows):,} channels were compared (channels.csv); intervals of {len(apart):,} differences exclude 0"
    yield Text(line)
    if apart:
        made = table("channel", "A", "B", "A less B")
        for row in apart[:_SHOWN]:
            made.add_row(Text(plain(f"{row['layer_a']}[{row['channel']}], {row['target']}")), *_sides(row))
        yield titled("Channels that differ most, CVF, %", made)


def _disagreements(found: Mapping[str, Any]) -> Iterator[RenderableType]:
    rows = found["disagreements"]
    if not found["paired"]:
        return
    if not rows:
        yield Text("\nNo trial is critical in one model only.")
        return
    made = table("fault", "bit", "image", "A", "margin", "clean", "B", "margin", "clean")
    for row in rows[:_SHOWN]:
        index = ",".join(map(str, row["index"]))
        sides = [
            text
            for side in "ab"
            for text in (
                "critical" if row[f"outcome_{side}"] == "critical" else "holds",
                _margin(row[f"margin_{side}"]),
                _margin(row[f"clean_{side}"]),
            )
        ]
        made.add_row(Text(plain(f"{row['layer_a']}[{index}]")), str(row["bit"]), str(row["image"]), *sides)
    rest = f"; {len(rows) - _SHOWN:,} more in disagreements.csv" if len(rows) > _SHOWN else ""
    title = "Critical in one model only, with the margin of the fault-free answer's logit under the fault and without"
    yield titled(title + rest, made)


def _margin(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"


def _scm(found: Mapping[str, Any]) -> Iterator[RenderableType]:
    for target in dict.fromkeys(row["target"] for row in found["scm"]):
        made = table("images", "A", "B", "A less B")
        for row in found["scm"]:
            if row["target"] == target and row["share"]:
                made.add_row(
                    SETTINGS[row["name"]], rate(row["a"]["share"]), rate(row["b"]["share"]), points(row["share"])
                )
        yield titled(f"Safety-critical among misclassifications under faults in {target}, %", made)


def _vigor(found: Mapping[str, Any]) -> Iterator[RenderableType]:
    if not found["vigor"]:
        return
    yield from _changes(found["vigor"], "and the difference", "DeepVigor+: vulnerability of")
    for target in found["vigor"]["mvf"]:
        made = table("layer", "A: below", "above", "safe, %", "B: below", "above", "safe, %")
        for row in found["vigor"]["layers"]:
            if row["target"] == target:
                made.add_row(Text(plain(row["layer_a"])), *_reach(row["reach_a"]), *_reach(row["reach_b"]))
        yield titled(f"Deviations of {target} that change the answer, medians, and pairs that none changes", made)


def _reach(reach: Mapping[str, Any]) -> tuple[str, str, str]:
    return _far(reach["lower"]), _far(reach["upper"]), f"{100 * reach['safe']:.1f}"


def _far(value: float | None) -> str:
    return "never" if value is None else f"{value:.3g}"
