"""A DeepVigor+ analysis from end to end: model and images in, rates and ranges out."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from onnxfi.engine.engine import Cost, Engine
from onnxfi.engine.prepare import prepare
from onnxfi.errors import StudyError
from onnxfi.faults.bits import Word
from onnxfi.faults.space import Region
from onnxfi.study.assembly import Asked, Assembly, assemble
from onnxfi.study.conduct import worker_count
from onnxfi.study.settings import Plan, Precision
from onnxfi.study.targets import Targets
from onnxfi.vigor.alike import spread
from onnxfi.vigor.course import paper_course, real_course
from onnxfi.vigor.crew import Crew
from onnxfi.vigor.deepvigor_plus import Part
from onnxfi.vigor.estimates import Estimates
from onnxfi.vigor.gradient import check
from onnxfi.vigor.measured import Measured, gather
from onnxfi.vigor.pairs import Array
from onnxfi.vigor.settings import Listener, Question


@dataclass(frozen=True)
class Analysis:
    """What was found. `golden_logits` (N, classes); `seconds`: wall time, golden pass included."""

    assembly: Assembly
    question: Question
    estimates: Estimates
    golden_logits: Array
    cost: Cost
    seconds: float
    warnings: tuple[str, ...]

    @property
    def targets(self) -> Targets:
        """The fault space, and its layers."""
        return self.assembly.targets


def analyze(model: Path | str, question: Question, progress: Listener | None = None) -> Analysis:
    """Decide every fault of every site and image that the sampling takes.

    Raises ModelError, DataError, FaultError, ProviderError, EngineError, StudyError: one sentence each.
    """
    started = time.monotonic()
    assembly, workers = put_together(model, question)
    targets, images = assembly.targets, len(assembly.dataset)
    if question.gradient_test:
        check(assembly.network)
    if question.paper:
        course = paper_course(assembly, question.sampling, question.gradient_test)
    else:
        course = real_course(assembly, question.sampling)
    total, done = sum(drawn.image.size for drawn in course.draws), 0
    measured: list[Measured] = []
    with tempfile.TemporaryDirectory(prefix="onnxfi-") as folder:
        work = Path(folder)
        prepare(assembly.network, assembly.probe, assembly.dataset.images, course.prepared, assembly.engine, work)
        golden = Engine(work).golden_logits
        with Crew[Part](work, workers) as crew:
            parts = crew.results(chain.from_iterable(map(course.jobs, range(len(course.draws)))))
            for region, drawn in zip(targets.space.regions, course.draws, strict=True):

                def told(at: int, layer: str = _layer(targets, region), before: int = done) -> None:
                    if progress is not None:
                        progress(layer, before + at, total)

                measured.append(gather(region, drawn, parts, told))
                done += drawn.image.size
            cost = crew.cost + Cost(images, float(images))
    estimates = Estimates(targets, measured, question.confidence)
    warnings = (*assembly.about["warnings"], *_unlike(targets, measured))
    return Analysis(assembly, question, estimates, golden, cost, time.monotonic() - started, warnings)


def put_together(model: Path | str, question: Question) -> tuple[Assembly, int]:
    """The assembly, and how many processes run it. Raises FaultError for words too wide to search."""
    workers = worker_count(question.machine)
    asked = Asked(question.target, question.data, Plan(seed=question.sampling.seed), Precision(), question.machine)
    assembly = assemble(model, asked, workers)
    for region in assembly.targets.space.regions:
        word = Word(region.dtype)
        if word.width == 64 and word.mantissa is None:
            raise StudyError(f"{region.tensor!r} holds {region.dtype}, which is not searched: use onnxfi analyze.")
    return assembly, workers


def _layer(targets: Targets, region: Region) -> str:
    return next((f"{layer.id}, {region.target}" for layer in targets.layers if layer.index == region.layer), "")


def _unlike(targets: Targets, measured: list[Measured]) -> Iterator[str]:
    """Sentences about layers of which a sample of channels says little: the paper takes channels for exchangeable."""
    for m in measured:
        if (found := spread(m)) is not None:
            yield (
                f"Channels of {_layer(targets, m.region)}, are unlike: their VFs spread by {100 * found:.0f} % about "
                "their mean, so that a few of them say little about the others."
            )
