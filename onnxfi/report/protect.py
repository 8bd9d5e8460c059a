"""What `onnxfi protect` found and did: the object of protect.json, and the files of its folder.

protect.json, which `onnxfi protect --json` prints. Rates are fractions, as {value, low, high, trials, population}.

    format, model, model_sha256
    hardened            the file; null where nothing helps: then proof is null too
    images              {bounds, unseen}: how many the bounds and the plan were made on, and how many the proof
    options             [{target, name, at, written, corrects, bytes, nodes, latency, mvf, vf, fit, front, chosen}]; at:
                        'load' or 'live' of weights' guards; written: whether protect can write it, else a what-if;
                        corrects: false where a fault is found only; latency: {value, low, high, runs} over the
                        original; mvf, vf, fit: what is left, of the mean of layers, of every bit alike, in time
    guards              [{tensor, kind, restored, zeroed, missed}]: of all single flips of its words, what share
    left_out            [{tensor, why}]: stored weights without a guard
    live                whether guards of weights run with every inference
    bytes, nodes        that the guards add
    latency             of the hardened model over the original, by level of optimisation: 'none', 'all', and of
                        the guards of weights alone 'checked, none', 'checked, all'
    proof               on the unseen images, the same faults with and without guards:
      weights, activations   [{guards, mvf, vf, fit, lower, mended, harmed}], the first without guards; lower: how
                        many times lower the MVF is, {value, low, high} from the far ends of both intervals, null
                        where nothing is left; mended, harmed: faults critical without guards only, and with only
      operands          rate of critical faults in the words that the guards themselves read; null without any
      direct            {faults, agreed}: run through the hardened file itself, and ended as told
      golden            {images, identical_checked, identical, same_top1, accuracy}: without faults; accuracy:
                        {before, after}, null without labels
      levels            [{level, identical, difference, same_top1, guards}]: of ONNX Runtime's optimisation; guards:
                        nodes of them that are left
      reference         whether onnx's reference evaluator gives the same bits; null where it was not asked
    layers              [{target, layer, before, after}]
    covered, not_covered  sentences
    remedy              what was asked
    seconds, warnings

Files beside it: plan.csv (the options), layers.csv, protect.html, and recipe.json: masks and ranges of the stored
weights, for a loader or a scrubber that applies them to the words in memory:

    tensors   [{tensor, dtype, row, keep, put, low, high, vote}]: word' = (word & keep) | put, and a value outside
              [low, high] becomes 0; a list has one number for the whole tensor, or one for each `row` numbers; of a
              vote, keep the tensor's own words in three copies
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from onnxfi.faults.guard import Guard
from onnxfi.metrics.estimate import Estimate
from onnxfi.metrics.fit import failures_in_time
from onnxfi.protect.harden import Protection
from onnxfi.protect.options import Option
from onnxfi.protect.proof import Proof, spread
from onnxfi.protect.sample import Sample
from onnxfi.report.coverage import covered, not_covered
from onnxfi.report.files import write_text
from onnxfi.study import place

SETS = {
    "weights": ("none", "of weights", "all"),
    "activations": ("none", "all, fault in the stored word", "all, fault in what the guard writes"),
}
_RATE = ("value", "low", "high", "trials", "population")


def facts(done: Protection) -> dict[str, Any]:
    """The object that the module's docstring tells of, in plain JSON values."""
    ground, proof = done.ground, done.proof
    return {
        "format": 1,
        "model": ground.file.path.name,
        "model_sha256": ground.file.sha256,
        "hardened": None if done.hardened is None else str(done.hardened),
        "images": {"bounds": len(ground.known), "unseen": len(ground.unseen)},
        "options": [_option(option) for options in done.options.values() for option in options],
        "guards": [
            {"tensor": tensor, "kind": kind(guard), **asdict(done.caught[tensor])}
            for tensor, guard in done.weights.items()
        ]
        + [{"tensor": tensor, "kind": kind(guard)} for tensor, guard in done.activations.items()],
        "left_out": [{"tensor": tensor, "why": why} for tensor, why in done.candidates.left_out.items()],
        "live": done.live,
        "bytes": done.size,
        "nodes": done.nodes,
        "latency": {level: asdict(ratio) for level, ratio in done.latency.items()},
        "proof": None if proof is None else _proof(done, proof),
        "layers": [] if proof is None else list(_layers(proof)),
        "covered": covered(done),
        "not_covered": not_covered(done),
        "remedy": asdict(done.remedy),
        "seconds": done.seconds,
        "warnings": list(ground.file.notes) + list(ground.targets.skipped),
    }


def kind(guard: Guard) -> str:
    """'mask', 'check', 'mask, check', 'vote', 'range, else 0' or 'range, else the bound'."""
    if guard.vote:
        return "vote"
    if not guard.row:
        return f"range, else {'the bound' if guard.clamp else '0'}"
    return ", ".join(name for name, there in (("mask", guard.masked), ("check", guard.checked)) if there)


def to_json(found: dict[str, Any]) -> str:
    """The object as text."""
    return json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write(folder: Path, done: Protection, found: dict[str, Any], page: str) -> None:
    """Write all files into `folder`, over what was there. Raises StudyError for a full or read-only disk."""
    options = [
        {
            **{name: row[name] for name in ("target", "name", "at", "written", "corrects", "bytes", "nodes")},
            "latency": row["latency"]["value"] if row["latency"] else None,
            **{f"{rate}_{part}": row[rate][part] for rate in ("mvf", "vf", "fit") for part in _RATE},
            "front": row["front"],
            "chosen": row["chosen"],
        }
        for row in found["options"]
    ]
    layers = [
        {
            "target": row["target"],
            "layer": row["layer"],
            **{f"{when}_{part}": row[when][part] for when in ("before", "after") for part in _RATE},
        }
        for row in found["layers"]
    ]
    with place.trouble(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "plan.csv", pd.DataFrame(options).to_csv(index=False, lineterminator="\n"))
    write_text(folder / "layers.csv", pd.DataFrame(layers).to_csv(index=False, lineterminator="\n"))
    write_text(folder / "recipe.json", to_json({"tensors": list(_recipe(done))}))
    write_text(folder / "protect.json", to_json(found))
    write_text(folder / "protect.html", page)


def _option(option: Option) -> dict[str, Any]:
    plain = ("target", "name", "at", "written", "corrects", "nodes", "front", "chosen")
    return {
        **{name: getattr(option, name) for name in plain},
        "bytes": option.size,
        "latency": asdict(option.latency) if option.latency else None,
        **{name: asdict(getattr(option, name)) for name in ("mvf", "vf", "fit")},
    }


def _proof(done: Protection, proof: Proof) -> dict[str, Any]:
    golden = asdict(proof.golden)
    if proof.golden.accuracy is not None:
        golden["accuracy"] = dict(zip(("before", "after"), proof.golden.accuracy, strict=True))
    return {
        "weights": _sets(proof.weights, "weights", done.remedy.fit_per_mbit),
        "activations": _sets(proof.activations, "activations", done.remedy.fit_per_mbit),
        "operands": asdict(proof.operands) if proof.operands else None,
        "direct": {"faults": proof.direct[0], "agreed": proof.direct[1]},
        "golden": golden,
        "levels": [asdict(level) for level in proof.levels],
        "reference": proof.reference,
    }


def _sets(sample: Sample | None, target: str, per_mbit: float) -> list[dict[str, Any]]:
    if sample is None:
        return []
    factors, found = sample.field.factors, []
    before = sample.of(factors.mvf(target), 0)  # type: ignore[arg-type]
    for number in range(len(sample.counts)):
        mvf, vf = sample.of(factors.mvf(target), number), sample.of(factors.population(target), number)  # type: ignore[arg-type]
        assert before is not None and mvf is not None and vf is not None
        found.append(
            {
                "guards": SETS[target][number],
                "mvf": asdict(mvf),
                "vf": asdict(vf),
                "fit": asdict(failures_in_time(per_mbit, vf)),
                "lower": _finite(spread(before, mvf)),
                "mended": int(sample.mended[number]),
                "harmed": int(sample.harmed[number]),
            }
        )
    return found


def _finite(times: tuple[float, float, float]) -> dict[str, float | None]:
    names = ("value", "low", "high")
    return {name: None if time == float("inf") else time for name, time in zip(names, times, strict=True)}


def _layers(proof: Proof) -> Iterator[dict[str, Any]]:
    for sample in (proof.weights, proof.activations):
        if sample is None:
            continue
        field = sample.field
        target = field.strata[0].target
        last = len(sample.counts) - 1 if target == "weights" else 1
        for layer in field.targets.layers:
            weights = field.factors.lvf(target, layer.index)
            before, after = sample.of(weights, 0), sample.of(weights, last)
            if before is not None and after is not None:
                yield {"target": target, "layer": layer.id, "before": asdict(before), "after": asdict(after)}


def _recipe(done: Protection) -> Iterator[dict[str, Any]]:
    for tensor, guard in done.weights.items():
        row: dict[str, Any] = {"tensor": tensor, "dtype": guard.dtype, "row": guard.row, "vote": guard.vote}
        if not guard.vote:
            row |= {"keep": [hex(mask) for mask in guard.keep], "put": [hex(mask) for mask in guard.put]}
            row |= {"low": list(guard.low), "high": list(guard.high)}
        yield row


def rate(values: dict[str, Any]) -> Estimate:
    """A rate back from its plain values."""
    return Estimate(**{name: values[name] for name in _RATE})
