"""What parity found: the object of `onnxfi parity --json`, and the files that its folder gets.

    format          1
    answer          one sentence
    a, b            {model, sha256, layers}; of compared studies {model, sha256}
    match           null where studies were compared without their models
        pairs[]     {layer_a, layer_b, form, order, weights, shift, identical, outputs, rivals, why}: form is stored,
                    folded or shape (onnxfi.parity.match); order: how the weight's axes moved; weights, shift, outputs:
                    largest difference relative to the largest number, of weights, of what is added to a channel, of
                    what the layer makes of a few images; identical: words bit for bit; rivals: other layers with the
                    same weights; why: what keeps faults from being repeated, or null
        unmatched[] {side, layer, why}
        folded_a, folded_b  layers that BatchNormalization was folded into, so that the words of both sides agree
    clean           fault-free: {images, difference, mean, largest, agree, differ[], top1_a, top1_b}: of logits; images
                    of the same top-1, numbers of the others; shares of right answers (null without labels)
    paired          whether both ran the same trials
    trials          in each
    confusion       {target: 3 x 3 counts}: masked, non-critical, critical in A (rows) and B (columns), or null
    cells           the same as rates over the fault space
    agreement       share of trials that are critical in both or in neither, or null
    only_a, only_b  trials that are critical in one only
    mvf, population_vf  {target: {a, b, difference}}; a, b: rates; difference: {value, low, high}, A less B
    layers[]        {target, layer_a, layer_b, a, b, difference}: LVF
    channels[]      {target, layer_a, layer_b, channel, a, b, difference}: CVF, {value, low, high} each
    disagreements[] {layer_a, layer_b, target, index, bit, image, outcome_a, outcome_b, top1_a, top1_b, margin_a,
                    margin_b, clean_a, clean_b}: trials that are critical in one only; index into A's stored tensor;
                    margin: faulty logit of the fault-free answer less the best other, null where one is not finite;
                    clean: the same without the fault
    list            {source, faults, images, of}: a fault list in the place of drawn faults; or null
    scm[]           {name, target, a, b, sdc, share}, with --groups
    vigor           {mvf, layers[]}, with --vigor: LVFs, and medians of deviations that change the answer; or null
    left_out[]      sentences: faults that have no twin
    warnings[]

Files: parity.json and report.html, the page; match.csv, layers.csv, channels.csv, disagreements.csv; faults.csv of a
list, a row a fault with its nine counts; a/ and b/, the studies.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from onnxfi.metrics.combine import Bounds
from onnxfi.metrics.safety import Groups
from onnxfi.parity.compare import Change, Comparison, Rows, compare_scm
from onnxfi.parity.listed import Listed
from onnxfi.parity.paired import Paired
from onnxfi.parity.run import Found
from onnxfi.parity.thresholds import Reach, Vigors
from onnxfi.parity.twins import Twins
from onnxfi.report.parity_trials import disagreements, finite
from onnxfi.study.targets import Targets


def facts(found: Found, groups: Groups | None = None) -> dict[str, Any]:
    """The object that the module's docstring tells of, of two models."""
    twins = found.twins
    models = {
        side: {"model": path.name, "sha256": one.network.sha256, "layers": len(one.network.layers)}
        for side, path, one in (("a", found.asking.a, twins.a), ("b", found.asking.b, twins.b))
    }
    told = studied(found.compared, groups) if found.compared else _list(found.listed)
    paired, targets = _where(found)
    rows = disagreements(paired, targets, twins) if paired is not None else []
    whole = {
        "format": 1,
        "answer": "",
        **models,
        "match": _match(twins),
        "clean": _clean(twins),
        **told,
        "disagreements": rows,
        "vigor": _vigor(found.vigors) if found.vigors else None,
        "left_out": list(found.left_out),
        "warnings": list(found.warnings),
    }
    return whole | {"answer": answer(whole)}


def compared(comparison: Comparison, groups: Groups | None = None) -> dict[str, Any]:
    """The same of two studies that were run before."""
    sides = (("a", comparison.a), ("b", comparison.b))
    models = {side: {"model": one.about["model"], "sha256": one.identity["model"]} for side, one in sides}
    rows = disagreements(comparison.paired, comparison.a.targets, None) if comparison.paired else []
    whole = {
        "format": 1,
        "answer": "",
        **models,
        "match": None,
        "clean": None,
        **studied(comparison, groups),
        "disagreements": rows,
        "vigor": None,
        "left_out": [],
        "warnings": [],
    }
    return whole | {"answer": answer(whole)}


def studied(comparison: Comparison, groups: Groups | None) -> dict[str, Any]:
    """What two studies say side by side."""
    rates = comparison.a.rates
    targets = np.array([stratum.target for stratum in rates.strata])
    scm = compare_scm(comparison, groups) if groups else ()
    return {
        **_rows(comparison.rows, comparison.paired, targets, rates.confidence),
        "trials": int(rates.trials.sum()),
        "channels": [
            {
                "target": row.target,
                "layer_a": row.layer_a,
                "layer_b": row.layer_b,
                "channel": row.channel,
                "a": {"value": row.a.value, "low": row.a.low, "high": row.a.high},
                "b": {"value": row.b.value, "low": row.b.low, "high": row.b.high},
                "difference": asdict(row.difference),
            }
            for row in comparison.channels
        ],
        "list": None,
        "scm": [
            {
                "name": row.a.name,
                "target": row.a.target,
                "a": _setting(row.a),
                "b": _setting(row.b),
                "sdc": asdict(row.sdc),
                "share": asdict(row.share) if row.share else None,
            }
            for row in scm
        ],
    }


def answer(found: Mapping[str, Any]) -> str:
    """One sentence: what matched, whether both answer alike, whether they fail alike."""
    parts = []
    if found["match"]:
        count, layers = len(found["match"]["pairs"]), found["a"]["layers"]
        parts.append(f"{count} of {layers} layers with weights matched")
        clean = found["clean"]
        parts.append(f"fault-free top-1 is the same on {clean['agree']:,} of {clean['images']:,} images")
    if found["paired"]:
        alike = found["trials"] - found["only_a"] - found["only_b"]
        parts.append(f"of {found['trials']:,} trials {alike:,} are critical in both or in neither")
    changes = ", ".join(f"{target} {_points(row['difference'])}" for target, row in found["mvf"].items())
    return "; ".join([*parts, f"MVF of A less that of B, in percentage points: {changes}"]) + "."


def to_json(found: Mapping[str, Any]) -> str:
    """The object as text."""
    return json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _rows(rows: Rows, paired: Paired | None, targets: Any, confidence: float) -> dict[str, Any]:
    counts = {}
    if paired:
        counts = {target: paired.confusion[targets == target].sum(axis=0).tolist() for target in rows.cells}
    return {
        "paired": paired is not None,
        "confidence": confidence,
        "confusion": counts or None,
        "cells": {t: [[asdict(cell) for cell in line] for line in cells] for t, cells in rows.cells.items()},
        "agreement": paired.agreement if paired else None,
        "only_a": int(paired.only_a.sum()) if paired else None,
        "only_b": int(paired.only_b.sum()) if paired else None,
        "mvf": {target: _change(change) for target, change in rows.mvf.items()},
        "population_vf": {target: _change(change) for target, change in rows.population.items()},
        "layers": [
            {"target": r.target, "layer_a": r.layer_a, "layer_b": r.layer_b, **_change(r.change)} for r in rows.layers
        ],
    }


def _list(listed: Listed | None) -> dict[str, Any]:
    assert listed is not None
    targets = np.array(["weights"] * len(listed.paired.confusion))
    return {
        **_rows(listed.rows, listed.paired, targets, listed.confidence),
        "trials": listed.paired.trials,
        "channels": [],
        "list": {
            "source": listed.entries.source,
            "faults": len(listed.entries.entries),
            "images": listed.images,
            "of": listed.asked,
        },
        "scm": [],
    }


def _change(change: Change) -> dict[str, Any]:
    return {"a": asdict(change.a), "b": asdict(change.b), "difference": asdict(change.difference)}


def _setting(setting: Any) -> dict[str, Any]:
    return {
        "images": setting.images,
        "sdc": asdict(setting.sdc),
        "share": asdict(setting.share) if setting.share else None,
    }


def _match(twins: Twins) -> dict[str, Any]:
    places = {id(pair): place for place, pair in enumerate(twins.matching.told)}
    return {
        "pairs": [
            {
                "layer_a": pair.a.layer.id,
                "layer_b": pair.b.layer.id,
                "form": pair.form,
                "order": None if pair.arrangement is None else str(pair.arrangement),
                "weights": pair.difference,
                "shift": pair.shift,
                "identical": pair.identical,
                "outputs": twins.apart.get(places.get(id(pair), -1)),
                "rivals": list(pair.rivals),
                "why": pair.why,
            }
            for pair in twins.matching.pairs
        ],
        "unmatched": [asdict(row) for row in twins.matching.unmatched],
        "folded_a": list(twins.folded[0]),
        "folded_b": list(twins.folded[1]),
    }


def _clean(twins: Twins) -> dict[str, Any]:
    clean, labels = twins.clean, twins.images_a.labels
    right = [
        None if labels is None else float((logits.argmax(axis=1) == labels).mean())
        for logits in (clean.logits_a, clean.logits_b)
    ]
    return {
        "images": clean.images,
        "difference": clean.difference,
        "mean": clean.mean,
        "largest": clean.largest,
        "agree": int(clean.agree.sum()),
        "differ": np.flatnonzero(~clean.agree).tolist(),
        "top1_a": right[0],
        "top1_b": right[1],
    }


def _where(found: Found) -> tuple[Paired | None, Targets]:
    if found.listed:
        return found.listed.paired, found.listed.targets
    assert found.compared is not None
    return found.compared.paired, found.compared.a.targets


def _vigor(vigors: Vigors) -> dict[str, Any]:
    return {
        "mvf": {target: _change(change) for target, change in vigors.mvf.items()},
        "layers": [
            {
                "target": row.target,
                "layer_a": row.layer_a,
                "layer_b": row.layer_b,
                **_change(row.change),
                "reach_a": _reach(row.reach_a),
                "reach_b": _reach(row.reach_b),
            }
            for row in vigors.layers
        ],
    }


def _reach(reach: Reach) -> dict[str, float | None]:
    return {"lower": finite(reach.lower), "upper": finite(reach.upper), "safe": reach.safe}


def _points(difference: Mapping[str, float] | Bounds) -> str:
    """'+0.012 [-0.010, 0.034]', of percentage points."""
    values = difference if isinstance(difference, Mapping) else asdict(difference)
    return f"{100 * values['value']:+.3f} [{100 * values['low']:+.3f}, {100 * values['high']:+.3f}]"
