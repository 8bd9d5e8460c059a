"""The one object that a study ends in: `summary.json`, and what `onnxfi analyze --json` prints.

All rates are fractions. A rate is always an object

    {"value", "low", "high", "trials", "population"}

(value null where nothing was seen) with the interval at `settings.precision.confidence`, the trials it rests on and
the number of faults it speaks for.

    format                  1
    model                   file name of the model
    model_sha256            of the file's bytes, external data included
    mvf                     {weights, activations, total}: mean of the layers' LVFs; total is Eq. 15 of DeepVigor+;
                            null where not asked
    population_vf           a fault anywhere in the fault space, every bit equally likely
    layers[]                in topological order:
        layer, op           its id and its operator
        weights             rate (LVF), or null
        activations         rate (LVF), with `tensor`, where the words lie, and `shared_with`, the layers that read the
                            same words; or null
        total               rate: the bracket of Eq. 15; null unless both are there
    bits[]                  {target, dtype, bits, ...rate}: `bits` are the positions of one class,
                            0 the least significant
    outcomes                {weights, activations}: {masked, non_critical, critical, non_finite}, each a rate over the
                            fault space; critical includes non_finite; or null
    sdc, scm, tensorfi, fragile, fit  as onnxfi.report.meaning tells
    most_vulnerable[]       {target, layer, ...rate}: up to five, the worst first
    activation              which activation sites: input, output or mac; null where activations were not asked
    plan                    {kind}; of a fixed plan also `faults`, each on all images; of a published one `margin` and
                            `confidence`; of data-aware `p`: {source, bits[]: {target, dtype, bit, p}}, bits absent
                            before the end of a pilot
    converged               true when every interval asked for was reached, or the fixed plan was completed
    trials                  pruned ones included
    image_inferences        images through a head, a tail, a golden or a null run
    equivalent_inferences   the same in multiply-accumulates, in units of one whole inference
    seconds                 that the study ran, all sittings together
    trials_per_second
    provider                that ONNX Runtime really used
    seed
    golden_accuracy         {top1, top5, images}, fault-free; null without labels
    warnings[]              sentences
    settings                every option, defaults included
    versions                {onnxfi, onnxruntime, onnx, numpy, python}
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from onnxfi.metrics.estimate import Estimate
from onnxfi.report.meaning import Meaning
from onnxfi.study.accuracy import Accuracy

FORMAT = 1


@dataclass(frozen=True)
class LayerRates:
    """One layer's LVFs; see the module's docstring."""

    layer: str
    op: str
    weights: Estimate | None
    activations: Estimate | None
    total: Estimate | None
    tensor: str | None = None
    shared_with: tuple[str, ...] = ()


@dataclass(frozen=True)
class BitRate:
    """The rate of one class of bits of one dtype, over all layers."""

    target: str
    dtype: str
    bits: tuple[int, ...]
    rate: Estimate


@dataclass(frozen=True)
class Outcomes:
    """How the faults of one target end, as shares of its fault space."""

    masked: Estimate
    non_critical: Estimate
    critical: Estimate
    non_finite: Estimate


@dataclass(frozen=True)
class Summary:
    """What a study found; the fields are those of the module's docstring."""

    model: str
    model_sha256: str
    mvf_weights: Estimate | None
    mvf_activations: Estimate | None
    mvf_total: Estimate | None
    population_vf: Estimate
    layers: tuple[LayerRates, ...]
    bits: tuple[BitRate, ...]
    outcomes_weights: Outcomes | None
    outcomes_activations: Outcomes | None
    activation: str | None
    plan: dict[str, Any]
    converged: bool
    trials: int
    image_inferences: int
    equivalent_inferences: float
    seconds: float
    provider: str
    seed: int
    golden_accuracy: Accuracy | None
    warnings: tuple[str, ...]
    settings: dict[str, Any]
    versions: dict[str, str] = field(default_factory=dict)
    meaning: Meaning | None = None

    @property
    def trials_per_second(self) -> float:
        return self.trials / self.seconds if self.seconds > 0 else 0.0

    @property
    def most_vulnerable(self) -> tuple[tuple[str, str, Estimate], ...]:
        """(target, layer, rate) of up to five layers, the worst first; a tie keeps the order of the layers."""
        found = [("weights", row.layer, row.weights) for row in self.layers if row.weights]
        found += [("activations", row.layer, row.activations) for row in self.layers if row.activations]
        seen = [(target, layer, rate) for target, layer, rate in found if rate.value is not None]
        return tuple(sorted(seen, key=lambda item: -(item[2].value or 0.0))[:5])

    def to_dict(self) -> dict[str, Any]:
        """The documented object, of plain JSON types."""
        return {
            "format": FORMAT,
            "model": self.model,
            "model_sha256": self.model_sha256,
            "mvf": {
                "weights": _rate(self.mvf_weights),
                "activations": _rate(self.mvf_activations),
                "total": _rate(self.mvf_total),
            },
            "population_vf": _rate(self.population_vf),
            "layers": [_layer(row) for row in self.layers],
            "bits": [
                {"target": row.target, "dtype": row.dtype, "bits": list(row.bits), **asdict(row.rate)}
                for row in self.bits
            ],
            "outcomes": {
                "weights": asdict(self.outcomes_weights) if self.outcomes_weights else None,
                "activations": asdict(self.outcomes_activations) if self.outcomes_activations else None,
            },
            **(self.meaning.to_dict() if self.meaning else {}),
            "most_vulnerable": [
                {"target": target, "layer": layer, **asdict(rate)} for target, layer, rate in self.most_vulnerable
            ],
            "activation": self.activation,
            "plan": self.plan,
            "converged": self.converged,
            "trials": self.trials,
            "image_inferences": self.image_inferences,
            "equivalent_inferences": self.equivalent_inferences,
            "seconds": self.seconds,
            "trials_per_second": self.trials_per_second,
            "provider": self.provider,
            "seed": self.seed,
            "golden_accuracy": _accuracy(self.golden_accuracy),
            "warnings": list(self.warnings),
            "settings": self.settings,
            "versions": self.versions,
        }

    def to_json(self) -> str:
        """The documented object as text. Strict JSON: a NaN would be an error, not a word that parsers refuse."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _rate(estimate: Estimate | None) -> dict[str, Any] | None:
    return asdict(estimate) if estimate else None


def _layer(row: LayerRates) -> dict[str, Any]:
    activations = _rate(row.activations)
    if activations is not None:
        activations |= {"tensor": row.tensor, "shared_with": list(row.shared_with)}
    return {
        "layer": row.layer,
        "op": row.op,
        "weights": _rate(row.weights),
        "activations": activations,
        "total": _rate(row.total),
    }


def _accuracy(accuracy: Accuracy | None) -> dict[str, float] | None:
    return {"top1": accuracy.top1, "top5": accuracy.top5, "images": accuracy.images} if accuracy else None
