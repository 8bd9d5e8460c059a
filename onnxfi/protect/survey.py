"""The plan's own study, on the images of the bounds: what each kind of guard would leave, and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onnxfi.engine.deviation import Deviations
from onnxfi.engine.levels import DEFAULT, Ratio, latency
from onnxfi.errors import EngineError, ModelError
from onnxfi.faults.guard import Guard
from onnxfi.graph.cut import Model
from onnxfi.graph.guards import Guarded, with_guards
from onnxfi.metrics.estimate import Estimate
from onnxfi.protect.ask import Remedy
from onnxfi.protect.candidates import Candidates, bounds, clamped
from onnxfi.protect.ground import Field, Ground
from onnxfi.protect.options import Option, Yard, what_ifs
from onnxfi.protect.pairs import Guards
from onnxfi.protect.plan import with_front
from onnxfi.protect.sample import Sample, certain, sample
from onnxfi.protect.stand import Range, Stand, on

Progress = Callable[[str, int], None]
"""Told what is being done, and how many faults of it are done."""

_LOOSE = 2.0  # a plan's MVF may be so many times less sure than a proof's
_SHARE = 8  # of the trials of a proof that a plan may take
_SECONDS = 0.4  # of measuring the time of one model


@dataclass(frozen=True)
class Survey:
    """weights, activations: options, from 'nothing' on. bounds: of activations. samples: by target."""

    options: Mapping[str, tuple[Option, ...]]
    bounds: Mapping[str, Guard]
    samples: Mapping[str, Sample]


def survey(stand: Stand, file: Model, candidates: Candidates, remedy: Remedy, progress: Progress) -> Survey:
    """Measure all options that `remedy` asks for."""
    ground = stand.ground
    folder = stand.prepared(ground.network, ground.probe, ground.known, ground.regions)
    options: dict[str, tuple[Option, ...]] = {}
    samples: dict[str, Sample] = {}
    ranges: dict[str, Guard] = {}
    clock = Clock(ground, file, remedy)
    crew = stand.crew(folder)

    def draw(field: Field, ranges: Sequence[Range], known: NDArray[np.bool_]) -> Sample:
        loose = _LOOSE * remedy.precision
        return sample(
            field,
            len(ground.known),
            on(ranges),
            known,
            [lambda before: loose] * len(known),
            remedy.confidence,
            max(1, remedy.trials // _SHARE),
            remedy.seed,
            lambda done: progress(f"plan, {field.target}", done),
        )

    if field := ground.fields.get("weights"):
        kinds = [kind for kind in _kinds(remedy) if candidates.only(*kind)]
        kinds = [kind for kind in kinds if "vote" not in kind or candidates.votes]
        sets = [candidates.only(*kind) for kind in kinds]
        by_number = [numbered(ground, guards) for guards in sets]
        known = np.stack([certain(field, guards) for guards in ({}, *by_number)])
        samples["weights"] = found = draw(field, [Range(crew, [{}, *by_number])], known)
        options["weights"] = tuple(_of_weights(Yard(found, remedy.fit_per_mbit), ground, kinds, sets, clock, remedy))
    if field := ground.fields.get("activations"):
        ranges = bounds(ground, Deviations(folder), remedy.headroom, remedy.ranges) if "clip" in remedy.guards else {}
        kinds_of = {"zero": ranges, "clamp": clamped(ranges)} if ranges else {}
        made = {name: _made(file, {}, guards) for name, guards in kinds_of.items()}
        shots = [Range(crew, [{}])]
        for model in made.values():
            guarded = stand.prepared(*stand.look(model.model), ground.known, ground.regions)
            shots.append(Range(stand.crew(guarded), [{}]))
        known = np.zeros((len(shots), len(field.strata)), bool)
        samples["activations"] = found = draw(field, shots, known)
        yard = Yard(found, remedy.fit_per_mbit)
        rows = [yard.option("nothing", yard.same(0))]
        for variant, (name, model) in enumerate(made.items(), 1):
            text = f"{len(ranges)} ranges, else {'0' if name == 'zero' else 'the bound'}"
            cost = clock.of([model])[0]
            rows.append(
                yard.option(
                    text, yard.same(variant), guards=kinds_of[name], written=True, latency=cost,
                    size=model.added_bytes, nodes=model.added_nodes,
                )
            )  # fmt: skip
        options["activations"] = (*rows, *what_ifs(yard, ground))
    return Survey({target: with_front(rows) for target, rows in options.items()}, ranges, samples)


def _kinds(remedy: Remedy) -> list[tuple[str, ...]]:
    """Each kind of guard alone, and all that are asked for together; votes come on top of the others."""
    kinds = [kind for kind in ("mask", "check") if kind in remedy.guards]
    found = [(kind,) for kind in kinds] + ([tuple(kinds)] if len(kinds) > 1 else [])
    return found + ([(*kinds, "vote")] if "vote" in remedy.guards else [])


def numbered(ground: Ground, guards: Mapping[str, Guard]) -> Guards:
    """Guards of stored weights by the number of the region that they stand at."""
    return {n: guards[region.tensor] for n, region in ground.numbered("weights") if region.tensor in guards}


def _made(file: Model, weights: Mapping[str, Guard], activations: Mapping[str, Guard], live: bool = False) -> Guarded:
    return with_guards(file, dict(weights), dict(activations), live=live)


def _of_weights(
    yard: Yard, ground: Ground, kinds: Sequence[tuple[str, ...]], sets: Sequence[dict[str, Guard]],
    clock: Clock, remedy: Remedy,
) -> Iterator[Option]:  # fmt: skip
    """Nothing; each kind at load; each kind live, at all tensors and at those that gain most; codes and copies."""
    yield yard.option("nothing", yard.same(0))
    for variant, (kind, guards) in enumerate(zip(kinds, sets, strict=True), 1):
        for at in ("load", "live"):
            if remedy.at not in ("auto", at):
                continue
            for some in _parts(yard, ground, variant, guards) if at == "live" and kind == kinds[-1] else (guards,):
                try:
                    model = _made(clock.file, some, {}, live=at == "live")
                    cost = clock.of([model])[0]
                except (ModelError, EngineError):
                    continue  # no way to the opset of masks, or a runtime without an op: the option does not exist
                here = _strata(yard, ground, some, variant)
                text = _named(kind, some, len(guards))
                yield yard.option(
                    text, here, at=at, guards=some, written=True, size=model.added_bytes, nodes=model.added_nodes,
                    latency=cost,
                )  # fmt: skip
    yield from what_ifs(yard, ground)


def _named(kind: tuple[str, ...], guards: Mapping[str, Guard], whole: int) -> str:
    """'masks', or 'masks+checks+1 vote, 5 of 20'."""
    votes = sum(guard.vote for guard in guards.values())
    words = [f"{one}s" for one in kind if one != "vote"]
    words += [f"{votes} vote{'s' if votes > 1 else ''}"] if votes else []
    return "+".join(words) + ("" if len(guards) == whole else f", {len(guards)} of {whole}")


def _parts(yard: Yard, ground: Ground, variant: int, guards: dict[str, Guard]) -> Iterator[dict[str, Guard]]:
    """A quarter, half and all of the guards, those first that lower the MVF most for each word that they pass."""
    field = yard.sample.field
    gains = {}
    for _, region in ground.numbered("weights"):
        if region.tensor in guards:
            mine = np.array([float(s.population) * (s.layer == region.layer) for s in field.strata])
            rates = [_value(yard.sample.of(mine / mine.sum(), v)) for v in (0, variant)]
            gains[region.tensor] = (rates[0] - rates[1]) / region.elements
    ranked = sorted(gains, key=lambda tensor: -gains[tensor])
    for count in sorted({-(-len(ranked) // 4), -(-len(ranked) // 2), len(ranked)}):
        yield {tensor: guards[tensor] for tensor in ranked[:count]}


def _strata(yard: Yard, ground: Ground, guards: Mapping[str, Guard], variant: int) -> NDArray[np.int64]:
    """The set of guards of each stratum, where only `guards` of set `variant` are there."""
    layers: dict[int, bool] = {}
    for _, region in ground.numbered("weights"):
        layers[region.layer] = layers.get(region.layer, True) and region.tensor in guards
    return np.array([variant if layers[s.layer] else 0 for s in yard.sample.field.strata])


def _value(estimate: Estimate | None) -> float:
    return 0.0 if estimate is None or estimate.value is None else estimate.value


class Clock:
    """Measures models beside the file's own."""

    def __init__(self, ground: Ground, file: Model, remedy: Remedy) -> None:
        self.file = file
        count = ground.file.fixed_batch or remedy.batch
        rows = np.resize(ground.known, count)
        self._images = ground.images(rows)

    def of(self, models: Sequence[Guarded], level: str = DEFAULT) -> list[Ratio]:
        """Their time over the original's, at a level of optimisation."""
        return latency(
            self.file.SerializeToString(),
            [made.model.SerializeToString() for made in models],
            self._images,
            _SECONDS * (1 + len(models)),
            level,
        )


def marked(rows: Sequence[Option], chosen: Option | None) -> tuple[Option, ...]:
    """The rows with the chosen one marked."""
    return tuple(replace(row, chosen=row is chosen) for row in rows)
