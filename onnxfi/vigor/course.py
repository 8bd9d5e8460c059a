"""The course of an analysis: which regions are prepared, which sites are drawn, and the jobs of each region."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from onnxfi.errors import FaultError, StudyError
from onnxfi.faults.space import Region
from onnxfi.graph.channels import Channels
from onnxfi.study.assembly import Assembly
from onnxfi.study.settings import Target
from onnxfi.study.targets import Targets, find_targets
from onnxfi.vigor import deepvigor_plus, paper
from onnxfi.vigor.crew import Job
from onnxfi.vigor.deepvigor_plus import Part
from onnxfi.vigor.sample import Drawn, draw
from onnxfi.vigor.settings import Sampling


@dataclass(frozen=True)
class Course:
    """Of each region of the fault space: `prepared`, the one that is run for it; `draws`; and its `jobs`."""

    prepared: tuple[Region, ...]
    draws: tuple[Drawn, ...]
    jobs: Callable[[int], Iterable[Job[Part]]]


def real_course(assembly: Assembly, sampling: Sampling) -> Course:
    """Every fault decided on the values that real flips make."""
    targets, images = assembly.targets, len(assembly.dataset)
    regions = targets.space.regions
    draws = tuple(
        draw(number, channels, region.elements, images, sampling)
        for number, (region, channels) in enumerate(zip(regions, _site_channels(targets), strict=True))
    )

    def jobs(number: int) -> Iterable[Job[Part]]:
        region = regions[number]
        return deepvigor_plus.jobs(number, region, draws[number], sampling.seed, read_pixels(assembly, region))

    return Course(runnable(targets), draws, jobs)


def paper_course(assembly: Assembly, sampling: Sampling, gradient_test: bool = False) -> Course:
    """The paper's filters and neurons. Raises StudyError for a layer that the paper's arithmetic does not know."""
    targets, images, network = assembly.targets, len(assembly.dataset), assembly.network
    regions, written = targets.space.regions, _sums(assembly)
    prepared, draws = [], []
    for number, (region, channels) in enumerate(zip(regions, _site_channels(targets), strict=True)):
        layer = network.layers[region.layer]
        if layer.output not in written:
            raise StudyError(
                f"Layer {layer.id!r} ({layer.op}) is no sum of products that --paper knows, Conv, Gemm or MatMul of an "
                "activation by a stored weight: leave --paper out, or the layer with --layers."
            )
        if region.dtype != (used := written[layer.output].dtype):
            raise StudyError(
                f"Layer {layer.id!r} stores {region.dtype} and multiplies in {used}, and --paper flips words that are "
                "multiplied as they are: leave --paper out, or the layer with --layers."
            )
        prepared.append(written[layer.output])
        if region.target == "weights":
            channels = Channels.along((channels.count,), 0)
        sites = channels.count if region.target == "weights" else region.elements
        draws.append(draw(number, channels, sites, images, sampling))

    def jobs(number: int) -> Iterable[Job[Part]]:
        drawn = draws[number]
        positions = prepared[number].elements // drawn.channels
        return paper.jobs(number, drawn, regions[number], positions, sampling, gradient_test)

    return Course(tuple(prepared), tuple(draws), jobs)


def _sums(assembly: Assembly) -> dict[str, Region]:
    """By tensor, the words that layers write of which every operand is known: regions of kind output."""
    asked = Target(kind="activations", activation="mac")
    try:
        found = find_targets(assembly.network, assembly.probe, asked)
    except FaultError:
        return {}
    return {region.tensor: region for region in runnable(found)}


def runnable(targets: Targets) -> tuple[Region, ...]:
    """The regions to prepare: for mac faults, which a neuron's output takes up, the words that the op writes."""
    return tuple(
        replace(region, kind="output", operands=1) if region.kind == "mac" else region
        for region in targets.space.regions
    )


def _site_channels(targets: Targets) -> list[Channels]:
    """The channel of each site; of mac, neurons are the sites."""
    found = []
    for region, channels in zip(targets.space.regions, targets.channels, strict=True):
        terms = tuple((stride // region.operands, size, factor) for stride, size, factor in channels.terms)
        found.append(Channels(channels.count, terms))
    return found


def read_pixels(assembly: Assembly, region: Region) -> bool:
    """Whether `region` is what a layer that reads the image itself multiplies: its weights, or the image.

    There a deviation moves many channels in many directions at once, and answers change to and fro as it grows, more
    than anywhere else; such layers are small, so their values are tried one by one.
    """
    layer, pixels = assembly.network.layers[region.layer], assembly.network.input.name
    return pixels == (layer.word if region.target == "weights" else region.tensor)
