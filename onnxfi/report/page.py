"""A study as a page: one HTML file that needs no network and nothing but a browser."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from onnxfi.metrics.estimate import Estimate
from onnxfi.metrics.safety import load_groups, shipped
from onnxfi.report import drawings
from onnxfi.report.charts import COLORS
from onnxfi.report.glossary import glossary
from onnxfi.report.meaning import Meaning
from onnxfi.report.summary import Summary
from onnxfi.report.tables import SITES, plain, positions
from onnxfi.report.words import CORRUPTION, PUBLISHED, SETTINGS, command, fit, percent
from onnxfi.study.channels import ChannelRate
from onnxfi.study.finding import Finding

_CHANNELS = 50  # rows of the table of channels


@dataclass(frozen=True)
class Card:
    """One number in large type."""

    name: str
    value: str
    limits: str
    edge: str


@dataclass(frozen=True)
class Place:
    """A row of the table of layers."""

    layer: str
    op: str
    target: str
    rate: Estimate


def render(template: str, context: Mapping[str, Any]) -> str:
    """A page from a template of this package. What stands in `context` is data: it is escaped, wherever it stands."""
    environment = Environment(loader=PackageLoader("onnxfi.report"), autoescape=True, undefined=StrictUndefined)
    environment.filters |= {"percent": percent, "fit": fit, "plain": plain, "positions": positions, "drawing": Markup}
    folder = files("onnxfi.report").joinpath("templates")
    script = folder.joinpath("page.js").read_text(encoding="utf-8")
    return environment.get_template(template).render(
        style=Markup(folder.joinpath("page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        **context,
    )


def page(finding: Finding, summary: Summary, meaning: Meaning) -> str:
    """The page of one study."""
    drawn: dict[str, Any] = {
        "layers": drawings.layer_profile(summary),
        "bits": drawings.bit_profile(summary),
        "corruption": drawings.corruption_profile(meaning),
        "maps": _some(drawings.channel_map(finding.channels, target) for target in finding.scheme.factors.targets),
        "settings": drawings.setting_profile(meaning.safety.settings, meaning.safety.fault_free)
        if meaning.safety
        else None,
        "drawn_settings": drawings.setting_profile(meaning.drawn_settings, None) if meaning.drawn else None,
        "group_maps": _some(drawings.group_map(meaning.safety, target) for target in meaning.safety.turns)
        if meaning.safety
        else [],
        "shrinking": drawings.shrinking(finding.history),
    }
    return render("study.html", {**drawn, **_told(finding, summary, meaning, bool(drawn["maps"]))})


def _told(finding: Finding, summary: Summary, meaning: Meaning, maps: bool) -> dict[str, Any]:
    asked = summary.settings
    return {
        "s": summary,
        "m": meaning,
        "answers": meaning.answers,
        "version": summary.versions.get("onnxfi", ""),
        "fault": {"bit-flip": "bit flips"}.get(
            asked["target"]["fault_model"], f"{asked['target']['fault_model']} faults"
        ),
        "asked": _asked(summary),
        "answer": _answer(summary),
        "weakest": _weakest(summary),
        "cards": _cards(summary, meaning),
        "sections": _sections(meaning, maps),
        "confidence": f"{100 * float(asked['precision']['confidence']):g} %",
        "places": _places(summary),
        "cells": drawings.CELLS,
        "worst_channels": _worst(finding.channels),
        "outcomes": [part for part in (summary.outcomes_weights, summary.outcomes_activations) if part],
        "corruption_names": CORRUPTION,
        "setting_names": SETTINGS,
        "published": PUBLISHED.get(meaning.drawn.groups) if meaning.drawn else None,
        "state": f"plan {summary.plan['kind']}, " + ("finished" if summary.converged else "not finished"),
        "command": command(summary.model, asked) + _read_by(meaning),
        "data": finding.about.get("data", ""),
        "data_sha256": finding.identity["data"].get("sha256", ""),
        "arithmetic": finding.identity["arithmetic"],
        "settings_json": json.dumps(asked, indent=2, ensure_ascii=False),
        "glossary": glossary(summary, meaning),
    }


def _read_by(meaning: Meaning) -> str:
    """The options that say how trials are read, as they stand at the end of the command."""
    words = []
    if meaning.safety:
        groups = meaning.safety.groups
        words.append("--groups " + next((n for n in shipped() if load_groups(n) == groups), "YOUR-GROUPS.json"))
    if meaning.per_mbit is not None:
        words.append(f"--fit-per-mbit {meaning.per_mbit:g}")
    if meaning.drawn:
        words.append("--preset tensorfi+")
    return "".join(f" {word}" for word in words)


def _some(found: Any) -> list[Any]:
    return [one for one in found if one is not None]


def _asked(summary: Summary) -> str:
    parts = ["a stored parameter"] if summary.outcomes_weights else []
    if summary.activation:
        parts.append(f"an activation ({summary.activation}: {SITES[summary.activation]})")
    return " or of ".join(parts)


def _answer(summary: Summary) -> Markup:
    """What was found, in one sentence."""
    verb = {"bit-flip": "flips", "stuck-at-0": "is stuck at 0", "stuck-at-1": "is stuck at 1"}
    happens = verb[summary.settings["target"]["fault_model"]]
    confidence = f"{100 * float(summary.settings['precision']['confidence']):g} %"
    parts = [
        Markup("of {}, in <b>{}</b> of cases").format(words, percent(rate))
        for rate, words in ((summary.mvf_weights, "a weight"), (summary.mvf_activations, "an activation"))
        if rate
    ]
    return Markup("When one bit {}, the answer changes: {}. Means over the layers, with {} confidence.").format(
        happens, Markup("; ").join(parts), confidence
    )


def _weakest(summary: Summary) -> str:
    if not summary.most_vulnerable:
        return ""
    target, layer, rate = summary.most_vulnerable[0]
    return f"Weakest are the {target} of layer {plain(layer)}: {percent(rate)}."


def _cards(summary: Summary, meaning: Meaning) -> list[Card]:
    shown = [
        ("MVF of weights", summary.mvf_weights, COLORS["weights"]),
        ("MVF of activations", summary.mvf_activations, COLORS["activations"]),
        ("MVF total, Eq. 15", summary.mvf_total, COLORS["total"]),
        ("VF, every bit equally likely", summary.population_vf, "var(--rule)"),
    ]
    cards = [_card(name, rate, edge) for name, rate, edge in shown if rate]
    for part in meaning.corruption:
        if part.accuracy_loss:
            cards.append(_card(f"accuracy lost, {part.target}", part.accuracy_loss, COLORS[part.target]))
    if meaning.safety:
        for setting in meaning.safety.settings:
            if setting.name == "all" and setting.share:
                cards.append(
                    _card(f"SCM of misclassifications, {setting.target}", setting.share, COLORS[setting.target])
                )
    for row in meaning.fit:
        if row.layer is None:
            value, _, limits = fit(row.rate).partition(" [")
            cards.append(Card(f"failures in time, {row.target}", value, f"[{limits}", COLORS[row.target]))
    return cards


def _card(name: str, rate: Estimate, edge: str) -> Card:
    value, _, limits = percent(rate).partition(" [")
    return Card(name, value, f"[{limits}", edge)


def _sections(meaning: Meaning, maps: bool) -> list[tuple[str, str]]:
    every = (
        ("layers", "Layers", True),
        ("bits", "Bits", True),
        ("channels", "Channels", maps),
        ("answers", "Answers", True),
        ("safety", "Safety", meaning.safety is not None),
        ("fit", "Failures in time", meaning.per_mbit is not None),
        ("sure", "How sure", True),
        ("again", "Again", True),
        ("words", "What the numbers mean", True),
    )
    return [(id_, name) for id_, name, there in every if there]


def _places(summary: Summary) -> list[Place]:
    """Every LVF, the worst first."""
    found = [
        Place(row.layer, row.op, target, rate)
        for row in summary.layers
        for target, rate in (("weights", row.weights), ("activations", row.activations))
        if rate
    ]
    return sorted(found, key=lambda place: -(place.rate.value if place.rate.value is not None else -1.0))


def _worst(channels: Sequence[ChannelRate]) -> list[ChannelRate]:
    """Those with any critical trial, the worst first."""
    return sorted((row for row in channels if row.value), key=lambda row: -(row.value or 0.0))[:_CHANNELS]
