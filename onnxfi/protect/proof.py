"""The proof: the hardened model analysed again, on images that no bound was taken from, beside the original."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxfi.engine.levels import Agreement, agreements
from onnxfi.engine.whole import Whole
from onnxfi.faults.bits import Word
from onnxfi.faults.guard import Guard
from onnxfi.graph.cut import Model
from onnxfi.graph.evaluate import evaluated
from onnxfi.graph.guards import Guarded, words_of
from onnxfi.metrics.estimate import Estimate, stratified_interval
from onnxfi.metrics.outcome import CRITICAL, top1
from onnxfi.protect.ask import Remedy
from onnxfi.protect.ground import Ground, moved
from onnxfi.protect.pairs import Array, Guards
from onnxfi.protect.sample import Goal, Sample, certain, sample
from onnxfi.protect.stand import Range, Stand, on
from onnxfi.protect.survey import Progress, numbered
from onnxfi.study.units import draw, units

_SHARPER = {"weights": 150, "activations": 10}  # parts of the MVF without guards that one with guards is known to
_IMAGES = 64  # on which levels of optimisation are compared
_OPERAND_FAULTS, _DIRECT = 400, 2  # faults in operands of guards; of each stratum, through the hardened file itself
_REFERENCE = 2 * 10**8  # multiply-adds that the reference evaluator may take


@dataclass(frozen=True)
class Golden:
    """The hardened model without faults, on the unseen images: how many answer with the original's own bits, with
    masks and checks alone and with all guards; how many with its class; and accuracies, where labels are known."""

    images: int
    identical_checked: int
    identical: int
    same_top1: int
    accuracy: tuple[float, float] | None


@dataclass(frozen=True)
class Proof:
    """weights: sets without guards, with masks and checks, with all guards. activations: without, with guards and the
    fault in the stored word, with guards and the fault in what the guard writes. operands: faults in what guards read.
    direct: faults run through the hardened file itself, and those of them that ended as told above.
    reference: whether onnx's evaluator gives both models the same bits; None where it was not asked, or cannot run it.
    """

    weights: Sample | None
    activations: Sample | None
    operands: Estimate | None
    direct: tuple[int, int]
    golden: Golden
    levels: tuple[Agreement, ...]
    reference: bool | None


def prove(
    stand: Stand, file: Model, hardened: Guarded, checked: Guarded,
    weights: Mapping[str, Guard], activations: Mapping[str, Guard], clips: Guarded | None,
    remedy: Remedy, progress: Progress,
) -> Proof:  # fmt: skip
    """Analyse `hardened`; `checked`: it with the guards of weights alone; `clips`: with those of activations alone."""
    ground = stand.ground
    guards = numbered(ground, weights)
    plain = stand.crew(stand.prepared(ground.network, ground.probe, ground.unseen, ground.regions))
    shots = {"weights": [Range(plain, [{}, guards])], "activations": [Range(plain, [{}])]}
    if clips is not None:
        mine = [(n, r) for n, r in ground.numbered("activations") if r.tensor in activations]
        copies = moved([region for _, region in mine], clips.words)
        folder = stand.prepared(*stand.look(clips.model), ground.unseen, [*ground.regions, *copies])
        behind = stand.crew(folder)
        shots["weights"].append(Range(behind, [guards]))
        shots["activations"].append(Range(behind, [{}]))
        if len(mine) == len(ground.numbered("activations")):
            shots["activations"].append(Range(behind, [{}], len(ground.regions) - mine[0][0]))
    samples = {}
    for target in ground.fields:
        if (target == "weights" and weights) or clips is not None:
            samples[target] = _drawn(ground, target, shots[target], guards, remedy, progress)
    images = ground.images(ground.unseen)
    fixed = ground.file.fixed_batch
    batch = fixed or min(len(images), _IMAGES)
    levels = agreements(
        file.SerializeToString(), hardened.model.SerializeToString(), images[: max(_IMAGES, batch)],
        ground.network.output, fixed,
    )  # fmt: skip
    progress("guards' own operands", 0)
    return Proof(
        samples.get("weights"),
        samples.get("activations"),
        _operands(ground, hardened, remedy) if hardened.constants else None,
        _direct(ground, shots["weights"][-1], hardened, guards, remedy) if weights else (0, 0),
        _golden(ground, file, hardened, checked, images),
        levels,
        _reference(ground, file, hardened, images[: fixed or 1]),
    )


def _drawn(
    ground: Ground, target: str, ranges: list[Range], guards: Guards, remedy: Remedy, progress: Progress
) -> Sample:
    field = ground.fields[target]
    sets = sum(len(one.variants) for one in ranges)
    known = np.zeros((sets, len(field.strata)), bool)
    if target == "weights":
        known[1:] = certain(field, guards)

    def sharper(before: Estimate) -> float:
        return max((before.value or 0.0) / _SHARPER[target], 1e-6)

    goals: list[Goal] = [lambda before: remedy.precision, sharper, *[lambda before: None] * (sets - 2)]
    said = f"proof, {target}"
    return sample(
        field, len(ground.unseen), on(ranges), known, goals, remedy.confidence, remedy.trials, remedy.seed + 1,
        lambda done: progress(said, done),
    )  # fmt: skip


def _golden(ground: Ground, file: Model, hardened: Guarded, checked: Guarded, images: Array) -> Golden:
    before, guarded, after = (_plain(ground, model, images) for model in (file, checked.model, hardened.model))
    labels = ground.dataset.labels
    accuracy = None
    if labels is not None:
        right = labels[ground.unseen]
        accuracy = float((before.argmax(1) == right).mean()), float((after.argmax(1) == right).mean())
    return Golden(
        len(images),
        _alike(before, guarded),
        _alike(before, after),
        int((before.argmax(axis=1) == after.argmax(axis=1)).sum()),
        accuracy,
    )


def _plain(ground: Ground, model: Model, images: Array) -> Array:
    network = ground.network
    return Whole(model, [], network.input.name, network.output, ground.file.fixed_batch).logits(images, {})


def _alike(a: Array, b: Array) -> int:
    return sum(x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True))


def _operands(ground: Ground, hardened: Guarded, remedy: Remedy) -> Estimate:
    """The rate of critical faults among single flips of the words that guards read, each on a few images."""
    words = words_of(hardened.model, hardened.constants)
    network, fixed = ground.network, ground.file.fixed_batch
    whole = Whole(hardened.model, list(words), network.input.name, network.output, fixed)
    images = ground.images(ground.unseen[: fixed or 4])
    golden = whole.logits(images, words)
    sites = [(name, site, bit) for name, w in words.items() if _known(w) for site in range(w.size) for bit in _bits(w)]
    rng = np.random.RandomState(remedy.seed)  # frozen by NumPy's own policy
    chosen = rng.permutation(len(sites))[:_OPERAND_FAULTS]
    share = 0.0
    for number in chosen:
        name, site, bit = sites[number]
        faulty = _flipped(words[name], site, bit)
        records = top1(golden, whole.logits(images, {**words, name: faulty}))
        share += float((records["outcome"] == CRITICAL).mean())
    value, low, high = stratified_interval([1.0], [share], [len(chosen)], [len(sites)], remedy.confidence)
    return Estimate(float(value[0]), float(low[0]), float(high[0]), len(chosen) * len(images), len(sites))


def _known(values: Array) -> bool:
    """Shapes and places are the program's own, as they are everywhere: no site."""
    return values.dtype != np.int64


def _bits(values: Array) -> range:
    return range(Word(values.dtype.name).width)


def _flipped(values: Array, site: int, bit: int) -> Array:
    word = Word(values.dtype.name)
    words = word.words(values.reshape(-1).copy())
    words[site] ^= words.dtype.type(1 << bit)
    return word.values(words).reshape(values.shape)


def _direct(ground: Ground, shots: Range, hardened: Guarded, guards: Guards, remedy: Remedy) -> tuple[int, int]:
    """Faults of every stratum in the stored weights of the hardened file itself, run whole, one by one."""
    field, network = ground.fields["weights"], ground.network
    few = np.minimum(_DIRECT, [stratum.population for stratum in field.strata]).astype(np.int64)
    tensors = [region.tensor for number, region in ground.numbered("weights") if number in guards]
    words = words_of(hardened.model, tensors)
    whole = Whole(hardened.model, tensors, network.input.name, network.output, ground.file.fixed_batch)
    golden = whole.logits(ground.images(ground.unseen), words)
    asked = agreed = 0
    jobs = list(units(0, few, np.zeros_like(few), field.strata, len(ground.unseen)))
    trials = [draw(unit, field.targets.space, field.strata, len(ground.unseen), remedy.seed + 2) for unit in jobs]
    for some, told in zip(trials, on([Range(shots.crew, [guards], shots.shift)])(trials), strict=True):
        for trial, outcome in zip(some, told[0], strict=True):
            tensor = ground.regions[trial["region"]].tensor
            if tensor not in words:
                continue
            word = Word(words[tensor].dtype.name)
            faulty = word.words(words[tensor].reshape(-1).copy())
            kind = faulty.dtype.type
            faulty[trial["site"]] = (faulty[trial["site"]] & kind(trial["keep"] & word.mask)) ^ kind(trial["toggle"])
            image = int(trial["image"])
            shown = ground.images(ground.unseen[image : image + 1])
            answer = whole.logits(shown, {**words, tensor: word.values(faulty).reshape(words[tensor].shape)})
            record = top1(golden[image : image + 1], answer)[0]
            asked += 1
            agreed += bool((record["outcome"] == CRITICAL) == (outcome[0] == CRITICAL))
    return asked, agreed


def _reference(ground: Ground, file: Model, hardened: Guarded, images: Array) -> bool | None:
    if ground.macs > _REFERENCE:
        return None
    before, after = evaluated(file, images), evaluated(hardened.model, images)
    return None if before is None or after is None else before.tobytes() == after.tobytes()


def spread(estimate: Estimate, other: Estimate) -> tuple[float, float, float]:
    """How many times lower `other` is than `estimate`: the ratio, and its limits from the far ends of both intervals.

    Infinite where nothing is left.
    """
    value = (estimate.value or 0.0) / other.value if other.value else float("inf")
    low = estimate.low / other.high if other.high else float("inf")
    return value, low, estimate.high / other.low if other.low else float("inf")


def counted(sample: Sample, variant: int) -> NDArray[np.int64]:
    """Masked, non-critical, critical and non-finite trials of one set of guards, (4,)."""
    return np.asarray(sample.counts[variant].sum(axis=0))
