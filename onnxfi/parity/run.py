"""Parity from end to end: the first network's study, its mirror in the second, and what sets them apart.

Where no stored word of one network is one of the other (float32 against int8, say), there is nothing to repeat: each
network gets a study of its own, and rates are compared, not trials.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onnxfi.parity.compare import Comparison, compare
from onnxfi.parity.listed import Listed, listed
from onnxfi.parity.lists import meet_both, run_list
from onnxfi.parity.mirror import mirror, places
from onnxfi.parity.settings import Asking, Watch
from onnxfi.parity.thresholds import Vigors, analyze_both
from onnxfi.parity.twins import Twins, bring_together
from onnxfi.study import place
from onnxfi.study.assembly import Asked, assemble
from onnxfi.study.conduct import conduct, worker_count
from onnxfi.study.journal import Journal
from onnxfi.study.targets import Targets, find_targets

Allocation = NDArray[np.int64]

A, B = "a", "b"
"""Names of the folders of the two studies."""


@dataclass(frozen=True)
class Found:
    """compared: the studies, or None where a list took their place. left_out: what was asked for and has no twin in the
    second network, one sentence each."""

    asking: Asking
    twins: Twins
    compared: Comparison | None
    listed: Listed | None
    vigors: Vigors | None
    left_out: tuple[str, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of the numbers must know."""
        warnings = []
        for side, layers in zip("AB", self.twins.folded, strict=True):
            if layers:
                warnings.append(
                    f"BatchNormalization was folded into {len(layers)} layers of {side}, as it is in the other model: "
                    "faults are in the folded weights, not in those that were trained."
                )
        pairs = self.twins.matching.pairs
        near = sum(pair.replayable and not pair.identical for pair in pairs)
        if near:
            warnings.append(
                f"The words of {near} layers agree but for rounding: the same bit is flipped in both, in words that "
                "differ in their last places."
            )
        if self.compared and self.compared.paired is None:
            why = next((pair.why for pair in pairs if pair.why), "no layer matched")
            warnings.append(f"No fault could be repeated ({why}): each model had trials of its own.")
        if self.twins.images_a.synthetic:
            warnings.append("The images are synthetic: these rates say nothing about real ones.")
        return tuple(warnings)


def run(asking: Asking, folder: Path, watch: Watch | None = None) -> Found:
    """Match both models, run what is asked for in `folder`, or what is not there yet of it, and compare.

    Studies are kept in `folder`/a and `folder`/b, a list in `folder`/list.sqlite. Raises OnnxfiErrors; after
    KeyboardInterrupt the same call goes on.
    """
    watch = watch or Watch()
    with place.trouble(folder):
        folder.mkdir(parents=True, exist_ok=True)
    outputs = asking.target.output, asking.output_b
    twins = bring_together(
        asking.a, asking.b, asking.data_a, asking.data_b, folder, outputs, asking.plan.seed, watch.clean
    )
    workers = worker_count(asking.machine)
    compared, done, left_out = None, None, list[str]()
    if asking.faults is not None:
        task = meet_both(asking.faults, twins, asking.data_a, asking.meet, asking.machine, workers)
        told = run_list(task, folder, workers, asking.precision.budget, watch.lists)
        done = listed(task, told, asking.precision.confidence)
    else:
        compared, left_out = _studies(asking, twins, folder, workers, watch)
    vigors = analyze_both(twins, *asking.questions, watch.searching) if asking.sampling else None
    return Found(asking, twins, compared, done, vigors, tuple(left_out))


def _studies(asking: Asking, twins: Twins, folder: Path, workers: int, watch: Watch) -> tuple[Comparison, list[str]]:
    first, second = asking.targets
    asked_a = Asked(first, asking.data_a, asking.plan, asking.precision, asking.machine)
    asked_b = replace(asked_a, target=second, data=asking.data_b)
    targets = find_targets(twins.a.network, twins.a.probe, first)
    found = places(twins, targets, find_targets(twins.b.network, twins.b.probe, second))
    other = assemble(twins.path_b, asked_b, workers)
    if not found:
        conduct(assemble(twins.path_a, asked_a, workers), folder / A, workers, watch.studies)
        conduct(other, folder / B, workers, watch.studies)
        pairs = [(pair.a.layer.index, pair.b.layer.index) for pair in twins.matching.pairs]
        return compare(folder / A, folder / B, pairs), []

    def rounds() -> list[Allocation]:
        with Journal.read(folder / A) as journal:
            return journal.rounds()

    original = assemble(twins.path_a, asked_a, workers, lambda region: region.tensor in found)
    conduct(original, folder / A, workers, watch.studies)
    conduct(mirror(original, other, twins, found, rounds), folder / B, workers, watch.studies)
    return compare(folder / A, folder / B), list(_left_out(twins, targets, set(found)))


def _left_out(twins: Twins, targets: Targets, found: set[str]) -> Iterator[str]:
    """What of the first network's targets has no twin, and why."""
    names = {layer.index: layer.id for layer in targets.layers}
    why = {pair.a.layer.index: pair.why for pair in twins.matching.pairs}
    for region in targets.space.regions:
        if region.tensor in found:
            continue
        if region.layer not in why:
            reason: str | None = "the layer has no twin"
        else:
            reason = why[region.layer] if region.target == "weights" else None
        yield f"{region.target} of {names[region.layer]!r}: {reason or 'no tensor of the twin holds the same words'}"
