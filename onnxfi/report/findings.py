"""From what a study found to its summary."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any

from onnxfi.faults.space import Target
from onnxfi.metrics.estimate import Estimate
from onnxfi.report.summary import BitRate, LayerRates, Outcomes, Summary
from onnxfi.study.accuracy import Accuracy
from onnxfi.study.finding import Finding
from onnxfi.study.scheme import factors_of
from onnxfi.study.targets import LayerName


def summarize(finding: Finding, settings: dict[str, Any] | None = None) -> Summary:
    """The documented object. `settings`: of this run; those that the study began with where they are not given."""
    targets, factors, rates = finding.targets, finding.scheme.factors, finding.rates
    about, identity = finding.about, finding.identity
    settings = dict(settings or about["settings"])
    golden = about["golden_accuracy"]
    population = rates.estimate(factors.population())
    assert population is not None  # a fault space is never empty
    places = range(1 + max(layer.index for layer in targets.layers))
    outputs = [targets.outputs.get(index, 0) for index in places]
    weights = [targets.weight_sites(index) for index in places]
    return Summary(
        model=about["model"],
        model_sha256=identity["model"],
        mvf_weights=rates.estimate(factors.mvf("weights")),
        mvf_activations=rates.estimate(factors.mvf("activations")),
        mvf_total=rates.estimate(factors.total(outputs, weights)),
        population_vf=population,
        layers=tuple(_layer(finding, layer) for layer in targets.layers),
        bits=_bits(finding),
        outcomes_weights=_outcomes(finding, "weights"),
        outcomes_activations=_outcomes(finding, "activations"),
        activation=settings["target"]["activation"] if "activations" in factors.targets else None,
        plan=dict(finding.plan),
        converged=finding.reached,
        trials=int(rates.trials.sum()),
        image_inferences=finding.cost.image_inferences,
        equivalent_inferences=finding.cost.equivalent_inferences,
        seconds=finding.cost.seconds,
        provider=identity["provider"],
        seed=identity["seed"],
        golden_accuracy=Accuracy(**golden) if golden else None,
        warnings=_warnings(finding),
        settings=settings,
        versions=_versions(identity["onnxruntime"]),
    )


def _layer(finding: Finding, layer: LayerName) -> LayerRates:
    targets, factors, rates = finding.targets, finding.scheme.factors, finding.rates
    tensor = targets.activation_tensor(layer.index)
    ids = {name.index: name.id for name in targets.layers}
    sizes = targets.outputs.get(layer.index, 0), targets.weight_sites(layer.index)
    return LayerRates(
        layer=layer.id,
        op=layer.op,
        weights=rates.estimate(factors.lvf("weights", layer.index)),
        activations=rates.estimate(factors.lvf("activations", layer.index)),
        total=rates.estimate(factors.layer_total(layer.index, *sizes)),
        tensor=tensor,
        shared_with=tuple(ids[index] for index in targets.readers.get(tensor or "", ()) if index != layer.index),
    )


def _bits(finding: Finding) -> tuple[BitRate, ...]:
    rates = finding.by_bits
    factors = factors_of(finding.targets, rates.strata)
    found: list[BitRate] = []
    for target, dtype, bits in {(s.target, s.dtype, s.bits): None for s in rates.strata}:
        rate = rates.estimate(factors.bits(target, dtype, bits))
        if rate is not None:
            found.append(BitRate(target, dtype, bits, rate))
    return tuple(sorted(found, key=lambda row: (row.target != "weights", row.dtype, [-bit for bit in row.bits])))


def _outcomes(finding: Finding, target: Target) -> Outcomes | None:
    weights = finding.scheme.factors.population(target)
    if weights is None:
        return None

    def share(outcome: Any) -> Estimate:
        estimate = finding.rates.estimate(weights, outcome)
        assert estimate is not None
        return estimate

    return Outcomes(share("masked"), share("non_critical"), share("critical"), share("non_finite"))


def _warnings(finding: Finding) -> tuple[str, ...]:
    about = finding.about
    found = list(about["warnings"])
    golden = about["golden_accuracy"]
    if golden and Accuracy(**golden).near_chance:
        found.insert(
            0,
            f"The fault-free model is right on {100 * golden['top1']:.1f} % of the images only, which is near chance: "
            "are these its images, and preprocessed as it was trained (--preset, --scale, --mean, --std)?",
        )
    if not finding.reached:
        found.append(
            "The study is not finished: its intervals are wider than asked for, or part of its plan is missing."
        )
    return tuple(found)


def _versions(onnxruntime: str) -> dict[str, str]:
    found = {name: version(name) for name in ("onnxfi", "onnx", "numpy")}
    return {**found, "onnxruntime": onnxruntime, "python": platform.python_version()}
