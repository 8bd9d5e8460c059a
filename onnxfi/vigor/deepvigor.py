"""DeepVigor (ETS 2023, arXiv 2303.06931): ranges of neurons per class, and how well they tell faults on new images.

The network's images are parted, class by class: ranges are found on the seen ones; then faults, single bit flips of
neuron outputs, are put into a category by the range of the image's golden class, and injected, on seen and on unseen
images. NaN and infinities are vulnerable. No neuron is dropped: the text's 98 % rule loses critical faults.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onnxfi.engine.deviation import Deviations
from onnxfi.engine.engine import Cost
from onnxfi.engine.prepare import prepare
from onnxfi.errors import StudyError
from onnxfi.faults.bits import Word
from onnxfi.metrics.outcome import CRITICAL
from onnxfi.study.assembly import Assembly
from onnxfi.study.sampling import Permutation
from onnxfi.vigor.analysis import put_together
from onnxfi.vigor.candidates import flipped
from onnxfi.vigor.course import real_course
from onnxfi.vigor.crew import Crew
from onnxfi.vigor.order import Order
from onnxfi.vigor.pairs import Array
from onnxfi.vigor.ranges import ClassRanges, Limits, Neurons, by_class, last_layer
from onnxfi.vigor.search import Flags
from onnxfi.vigor.settings import Listener, Question
from onnxfi.vigor.validate import rank_correlation

_PAIRS_A_JOB, _TRIALS_A_JOB = 2048, 8192
_FAULTS_A_NEURON = 256
_STREAMS = 1 << 34


@dataclass(frozen=True)
class Layer:
    """One layer's neurons.

    site (S,); ranges over the seen images. counts (2, 3, 2): seen or unseen image; non-vulnerable, semi-vulnerable or
    vulnerable by category; not critical or critical in truth. rates (S, B): share of the seen images on which a flip of
    each of `bits` deviates beyond the neuron's own range for that image (Eq. 4 to 6: by bit, BVF; by neuron, NVF; over
    all, LVF). loss: accuracy lost under the faults injected, None without labels.
    """

    id: str
    tensor: str
    site: NDArray[np.int64]
    ranges: ClassRanges
    counts: NDArray[np.int64]
    tried: int
    bits: tuple[int, ...]
    rates: NDArray[np.float64]
    loss: float | None

    @property
    def lvf(self) -> float:
        """Mean over neurons, bits and seen images."""
        return float(self.rates.mean())


@dataclass(frozen=True)
class Correlation:
    """Of LVF with the accuracy lost under injection, over `layers` layers (Fig. 5): Pearson's and Spearman's."""

    layers: int
    pearson: float | None
    rank: float | None


@dataclass(frozen=True)
class Ranges:
    """What was found. seen: bool (N,), the images that ranges were found on."""

    assembly: Assembly
    question: Question
    layers: tuple[Layer, ...]
    seen: Flags
    cost: Cost
    seconds: float


def find_ranges(model: Path | str, question: Question, progress: Listener | None = None) -> Ranges:
    """Ranges of the neurons that the sampling takes, and their validation.

    Raises what `onnxfi.vigor.analysis.analyze` does, and StudyError where the question is not about neuron outputs.
    """
    target = question.target
    if (target.kind, target.activation) != ("activations", "output") or question.paper:
        raise StudyError("DeepVigor is about --target activations --activation output: leave the others out.")
    started = time.monotonic()
    assembly, workers = put_together(model, question)
    for region in assembly.targets.space.regions:
        if Word(region.dtype).mantissa is None:
            raise StudyError(
                f"{region.tensor!r} holds {region.dtype}: DeepVigor's ranges are of floats; leave the method out."
            )
    course, regions = real_course(assembly, question.sampling), assembly.targets.space.regions
    total, done, layers = sum(drawn.image.size for drawn in course.draws), 0, []
    with tempfile.TemporaryDirectory(prefix="onnxfi-") as folder:
        work = Path(folder)
        prepare(assembly.network, assembly.probe, assembly.dataset.images, course.prepared, assembly.engine, work)
        here = Deviations(work)
        logits = here.golden_logits.astype(np.float64)
        golden = logits.argmax(axis=1)
        seen = _seen(golden)
        images = np.flatnonzero(seen)
        with Crew[Array | Limits](work, workers) as crew:
            for number, (region, drawn) in enumerate(zip(regions, course.draws, strict=True)):
                name = next(layer.id for layer in assembly.targets.layers if layer.index == region.layer)
                if progress is not None:
                    progress(name, done, total)
                image, site = np.tile(images, len(drawn.site)), np.repeat(drawn.site, len(images))
                if region.tensor == assembly.network.output and region.elements == logits.shape[1]:
                    limits = last_layer(logits, image, site)
                else:
                    steps = range(0, len(site), _PAIRS_A_JOB)
                    jobs = [Neurons(number, image[i : i + _PAIRS_A_JOB], site[i : i + _PAIRS_A_JOB]) for i in steps]
                    limits = _joined([part for part in crew.results(jobs) if isinstance(part, Limits)])
                ranges = by_class(limits, len(drawn.site), golden[images], logits.shape[1])
                row, trials, deviation = _faults(assembly, here, number, drawn.site, question.sampling.seed)
                parts = [Injections(trials[i : i + _TRIALS_A_JOB]) for i in range(0, len(trials), _TRIALS_A_JOB)]
                records = np.concatenate([part for part in crew.results(parts) if not isinstance(part, Limits)])
                critical = records["outcome"] == CRITICAL
                at = trials["image"].astype(np.int64)
                category = ranges.category(row, golden[at], deviation)
                counts = np.zeros((2, 3, 2), np.int64)
                np.add.at(counts, (1 - seen[at].astype(np.int64), category, critical.astype(np.int64)), 1)
                rates = _rates(here, number, images, drawn.site, limits)
                loss = _loss(golden[at], records["top1"], assembly.dataset.labels, at)
                layers.append(
                    Layer(name, region.tensor, drawn.site, ranges, counts, limits.tried, region.bits, rates, loss)
                )
                done += drawn.image.size
            cost = crew.cost + Cost(len(seen), float(len(seen)))
    return Ranges(assembly, question, tuple(layers), seen, cost, time.monotonic() - started)


@dataclass(frozen=True)
class Injections:
    """A job: trials as they are; gives their RECORDs."""

    trials: NDArray[np.void]

    def run(self, engine: Deviations) -> Array:
        """Run them."""
        return engine.run(self.trials)


def correlation(found: Ranges) -> Correlation | None:
    """How LVF goes with accuracy loss; None without labels, or of fewer than three layers."""
    losses = [layer.loss for layer in found.layers if layer.loss is not None]
    if len(losses) < max(3, len(found.layers)):
        return None
    lvf, loss = np.array([layer.lvf for layer in found.layers]), np.array(losses)
    pearson = None if lvf.std() == 0 or loss.std() == 0 else float(np.corrcoef(lvf, loss)[0, 1])
    return Correlation(len(losses), pearson, rank_correlation(lvf, loss))


def _rates(
    engine: Deviations, number: int, images: NDArray[np.int64], sites: NDArray[np.int64], limits: Limits
) -> NDArray[np.float64]:
    """Share of `images` on which each bit of each site deviates beyond the limits of that image, (S, B).

    Between the last safe step of the ladder and the first critical one nothing is claimed, and nothing counted. An
    infinity is beyond where any step of its side is, a NaN always.
    """
    region, count = engine.regions[number], len(images)
    order, found = Order(region.dtype), np.empty((len(sites), len(region.bits)))
    for place, site in enumerate(sites):
        pairs = slice(place * count, (place + 1) * count)
        stored = engine.stored(number, images, np.full(count, site))
        with np.errstate(all="ignore"):
            deviation = flipped(order, stored, region.bits).astype(np.float64) - stored.astype(np.float64)[:, None]
        low, high = limits.low[pairs, None], limits.high[pairs, None]
        beyond = ((deviation <= low) & np.isfinite(low)) | ((deviation >= high) & np.isfinite(high))
        found[place] = (beyond | np.isnan(deviation)).mean(axis=0)
    return found


def _loss(
    golden: NDArray[np.int64], faulty: Array, labels: NDArray[np.int64] | None, image: NDArray[np.int64]
) -> float | None:
    """Accuracy lost by trials on images (T,), with golden and faulty classes (T,)."""
    if labels is None:
        return None
    return float((golden == labels[image]).mean() - (faulty == labels[image]).mean())


def _seen(golden: NDArray[np.int64]) -> Flags:
    """Every other image of each golden class, bool (N,), the first of each among them."""
    seen = np.zeros(len(golden), bool)
    for class_ in np.unique(golden):
        seen[np.flatnonzero(golden == class_)[::2]] = True
    return seen


def _faults(
    assembly: Assembly, engine: Deviations, number: int, sites: NDArray[np.int64], seed: int
) -> tuple[NDArray[np.int64], NDArray[np.void], Array]:
    """Random bits and images of each neuron: its row among `sites`, the trials, and the deviations that they make."""
    space, images = assembly.targets.space, len(assembly.dataset)
    bits = np.array(space.regions[number].bits)
    faults = len(bits) * images
    count = min(_FAULTS_A_NEURON, faults)
    row = np.repeat(np.arange(len(sites)), count)
    drawn = [Permutation(faults, seed, _STREAMS * (number + 1) + int(site)).at(np.arange(count)) for site in sites]
    place, image = np.divmod(np.concatenate(drawn).astype(np.int64), images)
    ids = space.ids(np.full(len(row), number), sites[row], bits[place])
    stored = engine.stored(number, image, sites[row])
    order = Order(space.regions[number].dtype)
    with np.errstate(all="ignore"):
        changed = flipped(order, stored, tuple(bits.tolist()))[np.arange(len(row)), place]
        deviation = changed.astype(np.float64) - stored.astype(np.float64)
    return row, space.trials(ids, image), deviation


def _joined(parts: list[Limits]) -> Limits:
    low, safe_low, safe_high, high = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("low", "safe_low", "safe_high", "high")
    )
    return Limits(low, safe_low, safe_high, high, sum(part.tried for part in parts))
