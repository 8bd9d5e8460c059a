"""The same faults in a second network: a study that draws nothing of its own, but repeats another one's trials there.

Region by region the mirror's fault space is the original's: as many sites, the same bits, in the same order. Only
where a site lies differs, and that is arithmetic. So the n-th trial of either study is the same fault on the same
image, and both journals can be laid side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.faults.space import FaultSpace, Region
from onnxfi.parity.arrange import Arrangement, follow
from onnxfi.parity.clean import same_tensor
from onnxfi.parity.match import Pair
from onnxfi.parity.twins import Twins
from onnxfi.study.adaptive import Tally
from onnxfi.study.assembly import Assembly
from onnxfi.study.question import Question
from onnxfi.study.scheme import make_scheme
from onnxfi.study.targets import Targets
from onnxfi.study.units import Unit

Steps = tuple[Arrangement, ...]
Rounds = Callable[[], Sequence[NDArray[np.int64]]]

MIRRORS = "mirrors"
"""Key in the plan of a mirror's identity: the id of the study that it repeats."""

_ROUNDING = 1e-3  # of the largest number: activations of one place in both networks are nearer than this
_LOOK = 4  # images


@dataclass(frozen=True)
class Place:
    """Where a region of the first network is in the second: its tensor, and how its sites lie there."""

    tensor: str
    steps: Steps


@dataclass(frozen=True, kw_only=True)
class Mirror(Question):
    """The question of a study whose trials are those of `source`, at sites found by `steps`, one entry a region."""

    source: Question
    steps: tuple[Steps, ...]

    def trials(self, unit: Unit) -> NDArray[Any]:
        """faults.space.TRIAL[trials] of a unit: the original's, in this network."""
        return mirrored(self.source.trials(unit), self.space, self.steps)


def mirrored(trials: NDArray[Any], space: FaultSpace, steps: Sequence[Steps]) -> NDArray[Any]:
    """TRIAL (T,) of the first network as TRIAL (T,) of the second, whose fault space is `space`."""
    found = trials.copy()
    for number in np.unique(trials["region"]):
        mine = np.flatnonzero(trials["region"] == number)
        site = trials["site"][mine].astype(np.int64)
        there = follow(steps[number], site)
        found["site"][mine] = there
        moved = (there - site) * len(space.regions[number].bits)
        found["fault"][mine] = (trials["fault"][mine].astype(np.int64) + moved).astype(np.uint64)
    return found


def places(twins: Twins, a: Targets, b: Targets) -> dict[str, Place]:
    """By tensor, every region of the first network's targets `a` that is one of the second one's, `b`, too.

    A weight: of a layer whose stored words are the other's. An activation that a layer reads: where the matched layer
    reads the same numbers, their axes in another order.
    """
    pairs = {pair.a.layer.index: pair for pair in twins.matching.told}
    there = {region.tensor: region for region in b.space.regions}
    words = [pairs[r.layer] for r in a.space.regions if r.kind == "input" and r.layer in pairs]
    rows_a, rows_b = _rows(twins, words)
    found: dict[str, Place] = {}
    for region in a.space.regions:
        pair = pairs.get(region.layer)
        if pair is None:
            continue
        tensor, steps = pair.b.layer.word, None
        if region.target == "weights" and pair.replayable:
            tensor, steps = pair.b.stored.tensor, pair.steps
        elif region.kind == "input" and region.tensor in rows_a and tensor in rows_b:
            same = same_tensor(rows_a[region.tensor], rows_b[tensor])
            steps = (same[0],) if same and same[1] < _ROUNDING else None
        if steps is not None and tensor in there and _alike(region, there[tensor]):
            found[region.tensor] = Place(tensor, steps)
    return found


def _alike(one: Region, other: Region) -> bool:
    return (one.kind, one.elements, one.dtype, one.bits) == (other.kind, other.elements, other.dtype, other.bits)


def _rows(twins: Twins, pairs: Sequence[Pair]) -> tuple[Mapping[str, NDArray[Any]], Mapping[str, NDArray[Any]]]:
    """What the layers of `pairs` read, for a few images, by tensor."""
    if not pairs:
        return {}, {}
    words_a = [word for pair in pairs if twins.a.has_rows(word := pair.a.layer.word)]
    words_b = [word for pair in pairs if twins.b.has_rows(word := pair.b.layer.word)]
    return (
        twins.a.rows(twins.images_a.images[:_LOOK], words_a),
        twins.b.rows(twins.images_b.images[:_LOOK], words_b),
    )


def mirror(original: Assembly, other: Assembly, twins: Twins, found: Mapping[str, Place], rounds: Rounds) -> Assembly:
    """The study of `other`'s network that repeats what `original` drew in `rounds`.

    found: the place of every region of the original. rounds: gives, when it is asked, its journal's allocations.
    """
    targets = mirrored_targets(original.targets, other.targets, twins, found)
    plan = {**original.identity.plan, MIRRORS: original.identity.id}
    made = make_scheme(plan, original.asked.precision, targets, len(original.dataset))
    scheme = replace(made, propose=_Again(rounds, len(original.dataset) if made.crossed else 1))
    drawn = original.question
    question = Mirror(
        targets.space,
        scheme.strata,
        drawn.images,
        drawn.seed,
        drawn.crossed,
        source=drawn,
        steps=tuple(found[region.tensor].steps for region in original.targets.space.regions),
    )
    space = {**other.identity.space, "regions": targets.regions()}
    return replace(
        other,
        targets=targets,
        scheme=scheme,
        question=question,
        identity=replace(other.identity, space=space, plan=plan),
        about={**other.about, "names": targets.names()},
    )


@dataclass(frozen=True)
class _Again:
    """Proposes the rounds of another study, one after the other, whatever comes out here."""

    rounds: Rounds
    each: int

    def __call__(self, tally: Tally) -> NDArray[np.int64] | None:
        rounds = self.rounds()
        before = np.cumsum([0, *(int(allocation.sum()) for allocation in rounds)])
        number = int(np.searchsorted(before, int(tally.trials.sum()) // self.each))
        return rounds[number] if number < len(rounds) else None


def mirrored_targets(original: Targets, other: Targets, twins: Twins, found: Mapping[str, Place]) -> Targets:
    """The original's regions, one by one, as the other network has them."""
    at = {pair.a.layer.index: pair.b.layer.index for pair in twins.matching.told}
    own = dict(zip((region.tensor for region in other.space.regions), other.channels, strict=True))
    layers = {layer.index: layer for layer in other.layers}
    regions = [replace(r, tensor=found[r.tensor].tensor, layer=at[r.layer]) for r in original.space.regions]
    return Targets(
        FaultSpace(regions, original.space.fault_model),
        tuple(layers[at[layer.index]] for layer in original.layers if layer.index in at),
        tuple(own[region.tensor] for region in regions),
        {
            found[tensor].tensor: tuple(at[index] for index in indices if index in at)
            for tensor, indices in original.readers.items()
        },
        other.outputs,
        other.skipped,
    )
