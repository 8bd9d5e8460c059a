"""What `onnxfi protect` found, as a person reads it in the terminal: from the object of protect.json."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from onnxfi.report.protect import rate as restored
from onnxfi.report.tables import plain, rate, table, titled


def blocks(found: dict[str, Any]) -> Iterator[RenderableType]:
    """Every block, in reading order."""
    images = found["images"]
    yield Text(
        f"{plain(found['model'])}\nbounds and plan on {images['bounds']:,} images, proof on {images['unseen']:,}"
    )
    for warning in found["warnings"]:
        yield Text.assemble(("WARNING ", "bold red"), (plain(warning), "bold"))
    for target in ("weights", "activations"):
        rows = [row for row in found["options"] if row["target"] == target]
        if rows:
            yield _plan(target, rows)
    if found["hardened"] is None:
        yield from _nothing(found)
        return
    yield from _proof(found)
    yield from _sentences("Covered", found["covered"])
    yield from _sentences("Not covered", found["not_covered"])
    proof, latency = found["proof"], found["latency"]["all"]
    drawn = sum(part[0]["mvf"]["trials"] for part in (proof["weights"], proof["activations"]) if part)
    yield Text(f"\n{drawn:,} faults, each with and without guards, in {found['seconds']:.1f} s, everything included")
    yield Text(
        f"Hardened model: {plain(found['hardened'])}, {found['bytes']:,} bytes and {found['nodes']} nodes more, "
        f"{_times(latency)} the time",
        overflow="fold",
    )


def _plan(target: str, rows: list[dict[str, Any]]) -> RenderableType:
    made = table(f"{target}", "bytes", "time", "MVF left, %", "FIT left", "")
    made.columns[4].justify = "right"
    for row in rows:
        name = (
            row["name"] + (f", {row['at']}" if row["at"] else "") + ("" if row["written"] or not row["bytes"] else " *")
        )
        time = f"{row['latency']['value']:.2f}" if row["latency"] else "-"
        mark = "chosen" if row["chosen"] else "front" if row["front"] else ""
        fit = f"{row['fit']['value']:.3g}"
        left = f"{100 * row['mvf']['value']:.3f} <{100 * row['mvf']['high']:.3f}"
        made.add_row(
            Text(name), f"{row['bytes']:,}", time, left, fit, Text(mark, style="bold" if row["chosen"] else "")
        )
    title = f"Plan for {target}: what would be left, and what it costs (* what if: not written)"
    return titled(title, made)


def _nothing(found: dict[str, Any]) -> Iterator[RenderableType]:
    yield Text("\nNothing was written: no guard that may be had here would help.", style="bold")
    for row in found["left_out"][:5]:
        yield Text(f"{plain(row['tensor'])}: {row['why']}", overflow="fold")
    if len(found["left_out"]) > 5:
        yield Text(f"and {len(found['left_out']) - 5} more stored tensors")
    if any(row["corrects"] and row["bytes"] and not row["written"] for row in found["options"]):
        yield Text("What is left are codes and copies in memory itself: the rows marked * say what they would bring.")


def _proof(found: dict[str, Any]) -> Iterator[RenderableType]:
    proof = found["proof"]
    made = table("the same faults, unseen images", "MVF, %", "times lower", "FIT")
    for target in ("weights", "activations"):
        for part in proof[target]:
            first = part["guards"] == "none"
            name = f"{target}, no guards" if first else f"  {part['guards']}"
            made.add_row(
                name,
                rate(restored(part["mvf"]), 3),
                "" if first else _lower(part["lower"]),
                f"{part['fit']['value']:.3g}",
            )
    operands = proof["operands"]
    if operands:
        made.add_row("words that the guards read", rate(restored(operands), 2), "", "")
    yield titled("Proof", made)
    golden = proof["golden"]
    lines = [
        f"Without faults, of {golden['images']:,} images: logits bit for bit the same in "
        f"{golden['identical_checked']:,} with guards of weights, in {golden['identical']:,} with all guards; "
        f"the same top-1 in {golden['same_top1']:,}."
    ]
    if golden["accuracy"]:
        before, after = (100 * golden["accuracy"][name] for name in ("before", "after"))
        lines.append(f"Accuracy {before:.2f} % before, {after:.2f} % after.")
    levels = ", ".join(map(_level, proof["levels"]))
    lines.append(f"ONNX Runtime, by optimisation: {levels}.")
    if proof["reference"] is not None:
        lines.append(f"onnx's reference evaluator: {'same bits' if proof['reference'] else 'other bits'}.")
    asked, agreed = proof["direct"]["faults"], proof["direct"]["agreed"]
    if asked:
        lines.append(f"Faults run through the hardened file itself: {agreed} of {asked} ended as told.")
    time = found["latency"]
    lines.append(
        f"Time of an inference, optimised: {_times(time['checked, all'])} with guards of weights, "
        f"{_times(time['all'])} with all; not optimised: {_times(time['checked, none'])} and {_times(time['none'])}."
    )
    yield Text("\n" + "\n".join(lines), overflow="fold")


def _level(level: dict[str, Any]) -> str:
    off = "same bits" if level["identical"] else f"{level['difference']:.0e} off"
    return f"{level['level']} {off} ({level['guards']} guard nodes)"


def _lower(times: dict[str, float | None]) -> str:
    value, low, high = (
        f"{times[name]:,.3g}" if times[name] is not None else "all" for name in ("value", "low", "high")
    )
    return f"{value} [{low}, {high}]"


def _times(ratio: dict[str, float]) -> str:
    return f"{ratio['value']:.3f} [{ratio['low']:.3f}, {ratio['high']:.3f}] times"


def _sentences(title: str, sentences: list[str]) -> Iterator[RenderableType]:
    yield Text(f"\n{title}", style="bold")
    for sentence in sentences:
        yield Text(f"- {sentence}", overflow="fold")
