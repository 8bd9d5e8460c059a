"""What a DeepVigor+ analysis found: the object of vigor.json, the files of its folder, and its tables.

vigor.json, which `onnxfi vigor --json` prints. Rates are fractions, as {value, low, high, trials, population}: trials
are values run, population counts faults, the interval is at `confidence` and is a point where nothing was left out.

    format, method       1; "deepvigor+", or "deepvigor+ as published" (--paper)
    model, model_sha256  file name; of its bytes
    activation           kind of activation site: input, output or mac; null where none was asked
    images, sampling     how many; {channels, images, seed, sites}, fields of
                         onnxfi.vigor.sample.Sampling; null: all
    layers               [{layer, op, weights, activations, total}], total being the bracket of Eq. 15
    mvf                  {weights, activations, total}: means of the layers; total is MVF_total, Eq. 15
    population_vf        a fault anywhere, every bit equally likely
    bits                 [{target, dtype, bit, ...rate}]; empty as published, where bits are not told apart
    outcomes             {weights, activations}: {critical, non_finite}, each a rate over that target's faults; critical
                         includes non_finite, a logit that is NaN or infinite; null as published, not told apart there
    search               [{target, pairs, tried, safe, audited, values, sides, broken, error}]: values tried to decide
                         so many pairs of site and image; safe is the share of pairs without any critical deviation;
                         of the pairs audited, which are tried whole, sides with a critical value, those of them with a
                         safe value beyond one, and VF found by search less VF measured (as published: no audit);
                         where a layer reads the image, values are tried one by one instead (onnxfi.vigor.descent)
    gradient_test        [{target, sides, skipped, audited, wrong, error}], --gradient-test: of so many sides, two a
                         pair, those not searched, those of them searched all the same, the ones of these that have a
                         critical deviation, and by these the VF found with the test less the one without it
    simulations          [{target, analysis, complete, exhaustive, layer, data_unaware, data_aware}]
    validation           [{target, channels, trials, mae, mae_low, mae_high, relative, rank, rank_low, rank_high,
                         constant}], --validate: fields of onnxfi.vigor.validate.Agreement
    resampling, batches  where asked for: onnxfi.report.vigor_experiments
    image_inferences, equivalent_inferences, seconds, provider, confidence, warnings, settings

Files beside it:

    layers.csv    target, layer, op, trials, population, value, low, high
    channels.csv  target, layer, tensor, channel, trials, value, low, high, lower, upper: CVF, and the safe range of
                  deviations over all its sites and images: (lower, upper) holds none that is critical
    bits.csv      target, dtype, bit, trials, population, value, low, high
    ranges.npz    of the n-th region (regions.csv): site_n (S,), channel_n (S,), image_n (S, I), lower_n and upper_n
                  (S, I), delta- and delta+ of a site for an image: a deviation of the stored word (of mac: of the
                  op's output word) is critical if it is at most delta- or at least delta+; infinite where none is
    regions.csv   number, target, kind, layer, tensor, dtype
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from onnxfi.faults.space import Target
from onnxfi.metrics.estimate import Estimate
from onnxfi.study import place
from onnxfi.vigor.analysis import Analysis
from onnxfi.vigor.costs import simulations
from onnxfi.vigor.gradient import Skips
from onnxfi.vigor.measured import Measured
from onnxfi.vigor.pairs import Audit
from onnxfi.vigor.validate import Agreement

_RATE = ["trials", "population", "value", "low", "high"]


def facts(analysis: Analysis, agreement: Sequence[Agreement] = ()) -> dict[str, Any]:
    """The object that the module's docstring tells of, in plain JSON values."""
    estimates, targets, question = analysis.estimates, analysis.targets, analysis.question
    factors = estimates.factors
    outputs, weights = estimates.sizes
    sampling = question.sampling
    return {
        "format": 1,
        "method": "deepvigor+ as published" if question.paper else "deepvigor+",
        "model": analysis.assembly.about["model"],
        "model_sha256": analysis.assembly.network.sha256,
        "activation": question.target.activation if "activations" in factors.targets else None,
        "images": len(analysis.assembly.dataset),
        "sampling": asdict(sampling),
        "layers": [
            {
                "layer": layer.id,
                "op": layer.op,
                "weights": _rate(estimates.estimate(factors.lvf("weights", layer.index))),
                "activations": _rate(estimates.estimate(factors.lvf("activations", layer.index))),
                "total": _rate(
                    estimates.estimate(factors.layer_total(layer.index, outputs[layer.index], weights[layer.index]))
                ),
            }
            for layer in targets.layers
        ],
        "mvf": {
            "weights": _rate(estimates.estimate(factors.mvf("weights"))),
            "activations": _rate(estimates.estimate(factors.mvf("activations"))),
            "total": _rate(estimates.estimate(factors.total(outputs, weights))),
        },
        "population_vf": _rate(estimates.estimate(factors.population())),
        "bits": [] if question.paper else list(_bits(analysis)),
        "outcomes": {target: _outcomes(analysis, target) for target in ("weights", "activations")},
        "search": [_search(target, estimates.measured) for target in factors.targets],
        "gradient_test": [_skipped(target, estimates.measured) for target in factors.targets if question.gradient_test],
        "simulations": [asdict(simulations(estimates, target, not question.paper)) for target in factors.targets],
        "validation": [asdict(row) for row in agreement],
        "image_inferences": analysis.cost.image_inferences,
        "equivalent_inferences": analysis.cost.equivalent_inferences,
        "seconds": analysis.seconds,
        "provider": analysis.assembly.engine.provider,
        "confidence": question.confidence,
        "warnings": list(analysis.warnings),
        "settings": analysis.assembly.asked.to_dict(),
    }


def to_json(found: dict[str, Any]) -> str:
    """The object as text."""
    return json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write(folder: Path, analysis: Analysis, found: dict[str, Any]) -> None:
    """Write all files into `folder`, over what was there. Raises StudyError for a full or read-only disk."""
    layers = [
        {"target": target, "layer": row["layer"], "op": row["op"], **row[target]}
        for row in found["layers"]
        for target in ("weights", "activations", "total")
        if row[target]
    ]
    measured = analysis.estimates.measured
    names = {layer.index: layer.id for layer in analysis.targets.layers}
    regions = [
        (n, m.region.target, m.region.kind, names[m.region.layer], m.region.tensor, m.region.dtype)
        for n, m in enumerate(measured)
    ]
    arrays: dict[str, Any] = {}
    for n, m in enumerate(measured):
        arrays |= {f"site_{n}": m.drawn.site, f"channel_{n}": m.drawn.channel, f"image_{n}": m.drawn.image}
        arrays |= {f"lower_{n}": m.lower, f"upper_{n}": m.upper}
    tables = {
        "layers": pd.DataFrame(layers, columns=["target", "layer", "op", *_RATE]),
        "channels": pd.DataFrame(list(_channels(analysis, names))),
        "bits": pd.DataFrame(found["bits"], columns=["target", "dtype", "bit", *_RATE]),
        "regions": pd.DataFrame(regions, columns=["number", "target", "kind", "layer", "tensor", "dtype"]),
    }
    with place.trouble(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, table in tables.items():
            table.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
        np.savez_compressed(folder / "ranges.npz", **arrays)
        (folder / "vigor.json").write_text(to_json(found), encoding="utf-8")


def _rate(estimate: Estimate | None) -> dict[str, Any] | None:
    return asdict(estimate) if estimate else None


def _bits(analysis: Analysis) -> Iterator[dict[str, Any]]:
    regions = analysis.targets.space.regions
    kinds = dict.fromkeys((r.target, r.dtype, bit) for r in regions for bit in r.bits)
    for target, dtype, bit in kinds:
        yield {"target": target, "dtype": dtype, "bit": bit, **asdict(analysis.estimates.bit(target, dtype, bit))}


def _outcomes(analysis: Analysis, target: Target) -> dict[str, Any] | None:
    estimates = analysis.estimates
    every = estimates.factors.population(target)
    if every is None:
        return None
    lost = None if analysis.question.paper else estimates.no_answer.estimate(every)
    return {"critical": _rate(estimates.estimate(every)), "non_finite": _rate(lost)}


def _search(target: str, measured: tuple[Measured, ...]) -> dict[str, Any]:
    mine = [m for m in measured if m.region.target == target]
    audit = sum((m.audit for m in mine), Audit())
    safe = sum(int((np.isinf(m.lower) & np.isinf(m.upper)).sum()) for m in mine)
    pairs = sum(m.pairs.size for m in mine)
    return {
        "target": target,
        "pairs": pairs,
        "tried": sum(m.tried for m in mine),
        "safe": safe / pairs,
        "audited": audit.pairs,
        "values": audit.values,
        "sides": audit.sides,
        "broken": audit.broken,
        "error": audit.error,
    }


def _skipped(target: str, measured: tuple[Measured, ...]) -> dict[str, Any]:
    mine = [m for m in measured if m.region.target == target]
    skips = sum((m.skips for m in mine), Skips())
    pairs = sum(m.pairs.size for m in mine)
    return {
        "target": target,
        "sides": 2 * pairs,
        "skipped": skips.sides,
        "audited": skips.audited,
        "wrong": skips.wrong,
        "error": -skips.missed / skips.audited * skips.sides / pairs if skips.audited else None,
    }


def _channels(analysis: Analysis, names: dict[int, str]) -> Iterator[dict[str, Any]]:
    for number, m in enumerate(analysis.estimates.measured):
        region = m.region
        for channel, estimate in analysis.estimates.channels(number):
            mine = m.drawn.channel == channel
            yield {
                "target": region.target,
                "layer": names[region.layer],
                "tensor": region.tensor,
                "channel": channel,
                "trials": estimate.trials,
                "value": estimate.value,
                "low": estimate.low,
                "high": estimate.high,
                "lower": float(m.lower[mine].max()),
                "upper": float(m.upper[mine].min()),
            }
