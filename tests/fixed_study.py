"""A study of a fixed plan on the fake engine, whole or its first units, and all rates that come out of it.

The engine's outcomes are a hash, so that the exhaustive truth is at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import fake_engine
import numpy as np
from numpy.typing import NDArray

from onnxfi.graph.channels import Channels
from onnxfi.metrics.estimate import Estimate
from onnxfi.study import workers
from onnxfi.study.bench import Context
from onnxfi.study.campaign import campaign
from onnxfi.study.finding import Finding, find
from onnxfi.study.identity import Identity
from onnxfi.study.journal import Journal
from onnxfi.study.question import Question
from onnxfi.study.result import Cost
from onnxfi.study.scheme import Scheme, describe, make_scheme
from onnxfi.study.settings import Plan, Precision
from onnxfi.study.targets import LayerName, Targets

IMAGES, SEED = 5, 3
SPACE = fake_engine.space(3)
TARGETS = Targets(
    SPACE,
    tuple(LayerName(index, f"conv{index}", "Conv") for index in range(3)),
    tuple(Channels.along((4, region.elements // 4), 0) for region in SPACE.regions),
    {f"act{index}": (index,) for index in range(3)},
    dict.fromkeys(range(3), 80),
    (),
)
KINDS = ["network", "layer", "data-unaware", "data-aware"]


@dataclass(frozen=True)
class Fixed:
    plan: dict[str, Any]
    scheme: Scheme
    question: Question
    identity: Identity


def fixed(kind: str, margin: float = 0.2, confidence: float = 0.99, targets: Targets = TARGETS) -> Fixed:
    plan: Any = describe(Plan(kind, margin, seed=SEED), Precision(confidence=confidence), targets, no_weights)  # type: ignore[arg-type]
    scheme = make_scheme(plan, Precision(confidence=confidence), targets, IMAGES)
    identity = Identity(
        model="ab" * 32,
        data={"images": IMAGES},
        space={"fault_model": "bit-flip", "regions": targets.regions()},
        plan=plan,
        seed=SEED,
        criterion="top-1",
        arithmetic="exact",
        provider="fake",
        onnxruntime="0",
    )
    return Fixed(plan, scheme, Question(targets.space, scheme.strata, IMAGES, SEED, crossed=True), identity)


def no_weights(tensor: str) -> NDArray[Any]:
    raise AssertionError("asked for weights")


def run(folder: Path, asked: Fixed, shard: tuple[int, int] | None = None, stop: int | None = None) -> Finding:
    """Run it, or its first units; and what was found up to then."""
    settings = {"plan": {"shard": shard}, "precision": {"confidence": 0.99}}
    context = Context("fake", asked.question, fake_engine.FakeSource())
    about = {"names": TARGETS.names(), "settings": settings}
    with Journal.open(folder, asked.identity, about) as journal, workers.serial(context) as runner:
        scheme = asked.scheme
        going = campaign(asked.question, scheme.propose, journal, runner, 0.99, shard, Cost(), scheme.pilots)
        for _ in islice(going, stop):
            pass
        going.close()  # type: ignore[attr-defined]
        return find(journal, TARGETS, scheme, IMAGES, 0.99)


def rates(finding: Finding) -> list[Estimate]:
    """LVFs, MVFs, VF of the population, and the rate of each class of bits, in one list."""
    factors = finding.scheme.factors
    weights = [factors.lvf(target, layer) for target in factors.targets for layer in range(3)]
    weights += [factors.mvf(target) for target in factors.targets] + [factors.population()]
    found = [finding.rates.estimate(factor) for factor in weights]
    fine = finding.by_bits
    found += [fine.estimate(row / row.sum()) for row in by_class(fine.strata)]
    return [estimate for estimate in found if estimate is not None]


def by_class(strata: Sequence[Any]) -> list[NDArray[np.float64]]:
    kinds = dict.fromkeys((stratum.target, stratum.bits) for stratum in strata)
    return [np.array([s.population * ((s.target, s.bits) == kind) for s in strata], float) for kind in kinds]
