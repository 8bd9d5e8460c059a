"""How numbers and names are written for people."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from markupsafe import Markup

from onnxfi.metrics.estimate import Estimate
from onnxfi.report.tables import plain
from onnxfi.study import settings

CORRUPTION = {
    "sdc_1": "SDC-1",
    "sdc_5": "SDC-5",
    "sdc_10": "SDC-10 %",
    "sdc_20": "SDC-20 %",
    "non_finite": "non-finite",
}
SETTINGS = {
    "all": "all images",
    "correct": "right without faults",
    "wrong": "wrong without faults",
    "wrong_scm": "wrong, and SCM",
    "wrong_non_scm": "wrong, not SCM",
}
METHODS = {"deepvigor+": "DeepVigor+", "deepvigor+ as published": "DeepVigor+ as published", "deepvigor": "DeepVigor"}
PUBLISHED = {
    "CIFAR-100": {"fault_free": "below 20 %", "correct": "30 to 40 %", "wrong": "20 to 50 %"},
    "ImageNet": {"fault_free": "below 10 %", "correct": "10 to 38 %", "wrong": "14 to 36 %"},
}
"""SCM of misclassifications over the networks of Laskar et al., by name of the groups and by setting."""


def number(value: float, width: float) -> str:
    """As many digits as an interval of half-width `width` leaves: two of the width's own, at most five decimals."""
    decimals = 2 if width <= 0 else min(max(1 - math.floor(math.log10(width)), 0), 5)
    return f"{value:,.{decimals}f}"


def percent(rate: Estimate | None, unit: str = " %", scale: float = 100.0) -> str:
    """'1.28 % [1.18, 1.39]'; a dash for what nobody asked or saw."""
    if rate is None:
        return "–"
    width = scale * (rate.high - rate.low) / 2
    limits = f"[{number(scale * rate.low, width)}, {number(scale * rate.high, width)}]"
    return f"– {limits}" if rate.value is None else f"{number(scale * rate.value, width)}{unit} {limits}"


def fit(rate: Estimate) -> str:
    """'108 FIT [86, 173]'."""
    return percent(rate, " FIT", 1.0)


def numbered(names: Sequence[str]) -> list[str]:
    """Printable names, each once: equal ones get a number, so that a chart keeps them apart."""
    found: list[str] = []
    seen: set[str] = set()
    for name in map(plain, names):
        shown, count = name, 1
        while shown in seen:
            count += 1
            shown = f"{name} ({count})"
        seen.add(shown)
        found.append(shown)
    return found


_OPTIONS: tuple[tuple[str, type, Mapping[str, str]], ...] = (
    (
        "target",
        settings.Target,
        {
            "kind": "--target",
            "activation": "--activation",
            "parameters": "--parameters",
            "layers": "--layers",
            "bits": "--bits",
            "fault_model": "--fault-model",
            "output": "--output",
            "unshare": "--unshare",
        },
    ),
    (
        "data",
        settings.Data,
        {
            "paths": "--data",
            "images": "--images",
            "synthetic": "--synthetic",
            "preset": "--preset",
            "scale": "--scale",
            "mean": "--mean",
            "std": "--std",
            "resize": "--resize",
            "crop": "--crop",
            "labels": "--labels",
            "label_map": "--label-map",
        },
    ),
    ("plan", settings.Plan, {"kind": "--plan", "margin": "--margin", "p": "--p", "shard": "--shard", "seed": "--seed"}),
    (
        "precision",
        settings.Precision,
        {
            "model": "--precision",
            "layer": "--layer-precision",
            "confidence": "--confidence",
            "budget": "--budget",
        },
    ),
    ("machine", settings.Machine, {"exact": "--exact", "provider": "--provider"}),
)
_REPEATED, _JOINED = {"--data", "--layers"}, {"--resize": "x", "--crop": "x", "--shard": "/"}


def command(model: str, asked: Mapping[str, Any], verb: str = "analyze") -> str:
    """The command that asks for this study again: everything that differs from its default. `asked`: Asked.to_dict."""
    words = ["onnxfi", verb, model]
    for part, record, options in _OPTIONS:
        defaults = {field.name: field.default for field in fields(record)}
        for name, option in options.items():
            value = asked.get(part, {}).get(name)
            if value is None or value is False or _same(value, defaults[name]):
                continue
            if value is True:
                words.append(option)
                continue
            several = value if option in _REPEATED else [value]
            for one in several:
                joined = _JOINED.get(option, ",").join(map(str, one)) if isinstance(one, list | tuple) else str(one)
                words += [option, joined]
    return shlex.join(words)


def _same(value: Any, default: Any) -> bool:
    return bool(value == default or (isinstance(value, list | tuple) and list(value) == list(default or ())))


def happening(asked: Mapping[str, Any]) -> str:
    """'bit flip', 'stuck-at-0 fault': what happens to a bit, of Asked.to_dict."""
    model = str(asked["target"]["fault_model"])
    return "bit flip" if model == "bit-flip" else f"{model} fault"


def confidence(asked: Mapping[str, Any]) -> str:
    """'99 %': of every interval."""
    return f"{100 * float(asked['precision']['confidence']):g} %"


def answered(happens: str, weights: Estimate | None, activations: Estimate | None, confidence: str) -> Markup:
    """The MVFs in one sentence. happens: to one bit, as 'flips'."""
    parts = [
        Markup("of {}, in <b>{}</b> of cases").format(words, percent(rate))
        for rate, words in ((weights, "a weight"), (activations, "an activation"))
        if rate
    ]
    return Markup("When one bit {}, the answer changes: {}. Means over the layers, with {} confidence.").format(
        happens, Markup("; ").join(parts), confidence
    )
