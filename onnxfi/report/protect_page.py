"""A hardened model, as a page: the plan and what it costs, the proof, and what is covered and what is not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from onnxfi.report.charts import COLORS
from onnxfi.report.document import Card, Head, Section, document
from onnxfi.report.protect import rate
from onnxfi.report.svg import Chart, drawn
from onnxfi.report.words import percent

_LEAST = 1e-4  # %, where the logarithmic axis begins: nothing left is drawn there


def page(found: Mapping[str, Any]) -> str:
    """The page of the object of protect.json."""
    head = Head(
        kind="Remedy",
        title=found["model"],
        asked="which guards against bit flips are worth their cost, and what do they bring?",
        answer=_answer(found),
        warnings=found["warnings"],
        cards=list(_cards(found)),
    )
    plans = [(target, _rows(found, target)) for target in ("weights", "activations")]
    told = [(target, _scatter(target, rows), rows) for target, rows in plans if rows]
    sections = [Section("plan", "Plan", "protect/plan.html", {"plans": told})]
    if found["proof"] is not None:
        sections += [
            Section("proof", "Proof", "protect/proof.html", _proof(found)),
            Section("layers", "Layers", "protect/layers.html", {"rows": _layers(found)}),
        ]
    sections.append(
        Section(
            "covers", "What is covered, and what is not", "protect/covers.html",
            {"covered": found["covered"], "not_covered": found["not_covered"], "left_out": found["left_out"]},
        )
    )  # fmt: skip
    return document(head, sections)


def _answer(found: Mapping[str, Any]) -> str:
    if found["proof"] is None:
        return "Nothing was written: no guard that may be had here would help."
    parts = []
    for target in ("weights", "activations"):
        sets = found["proof"][target]
        if sets:
            first, last = sets[0], sets[-1] if target == "weights" else sets[1]
            parts.append(f"{target} from {percent(rate(first['mvf']))} to {percent(rate(last['mvf']))}")
    return f"MVF with guards, on images that no bound was taken from: {'; '.join(parts)}."


def _cards(found: Mapping[str, Any]) -> Iterator[Card]:
    if found["proof"] is None:
        return
    for target in ("weights", "activations"):
        sets = found["proof"][target]
        if sets:
            edge = COLORS[target]
            yield Card.of(f"MVF of {target}, before", rate(sets[0]["mvf"]), edge)
            yield Card.of(f"MVF of {target}, after", rate((sets[-1] if target == "weights" else sets[1])["mvf"]), edge)
    time = found["latency"]["all"]
    yield Card("time of an inference, times", f"{time['value']:.3f}", f"[{time['low']:.3f}, {time['high']:.3f}]")


def _rows(found: Mapping[str, Any], target: str) -> list[dict[str, Any]]:
    rows = []
    for row in found["options"]:
        if row["target"] == target:
            time = row["latency"]["value"] if row["latency"] else None
            name = row["name"] + (f", {row['at']}" if row["at"] else "")
            rows.append({**row, "name": name, "time": time, "left": rate(row["mvf"]), "fit": rate(row["fit"])})
    return rows


def _scatter(target: str, rows: Sequence[Mapping[str, Any]]) -> Chart:
    """Bytes against residual MVF: what is on the front, what is beaten, and what was chosen."""
    points = [
        {
            "bytes": max(row["bytes"], 1),
            "value": max(100 * (row["left"].value or 0.0), _LEAST),
            "high": max(100 * row["left"].high, _LEAST),
            "group": "chosen" if row["chosen"] else "on the front" if row["front"] else "beaten",
            "text": f"{row['name']}: {row['bytes']:,} bytes, {percent(row['left'])}",
        }
        for row in rows
        if row["corrects"]
    ]
    x = {"field": "bytes", "type": "quantitative", "title": "bytes added (1: none)", "scale": {"type": "log"}}
    y = {"field": "value", "type": "quantitative", "title": "MVF left, %", "scale": {"type": "log"}}
    groups, ink = ["chosen", "on the front", "beaten"], [COLORS[target], "var(--ink)", "var(--muted)"]
    color = {"field": "group", "type": "nominal", "scale": {"domain": groups, "range": ink}, "title": None}
    shape = {"field": "group", "type": "nominal", "scale": {"domain": groups}, "title": None}
    legend = {"orient": "top"}
    return drawn(
        f"What each way to protect {target} adds, and what it leaves, up to the end of its interval.",
        {
            "data": {"values": points},
            "height": 260,
            "encoding": {"x": x, "y": y, "color": {**color, "legend": legend}},
            "layer": [
                {"mark": {"type": "rule", "aria": False}, "encoding": {"y2": {"field": "high"}}},
                {
                    "mark": {"type": "point", "filled": True, "size": 70},
                    "encoding": {"shape": {**shape, "legend": legend}, "description": {"field": "text"}},
                },
            ],
        },
    )


def _proof(found: Mapping[str, Any]) -> dict[str, Any]:
    proof = found["proof"]
    sets = [
        {
            "target": target,
            "guards": part["guards"],
            "mvf": rate(part["mvf"]),
            "vf": rate(part["vf"]),
            "fit": rate(part["fit"]),
            "lower": part["lower"],
            "mended": part["mended"],
            "harmed": part["harmed"],
        }
        for target in ("weights", "activations")
        for part in proof[target]
    ]
    operands = rate(proof["operands"]) if proof["operands"] else None
    keep = ("golden", "levels", "reference", "direct")
    return {"sets": sets, "operands": operands, "latency": found["latency"], **{name: proof[name] for name in keep}}


def _layers(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{**row, "before": rate(row["before"]), "after": rate(row["after"])} for row in found["layers"]]
