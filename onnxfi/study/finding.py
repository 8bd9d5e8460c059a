"""What a study found: everything that its tables need, from its journal alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from onnxfi.study.adaptive import Tally
from onnxfi.study.answers import Answers
from onnxfi.study.channels import ChannelRate, channel_rates
from onnxfi.study.evidence import Evidence, gather
from onnxfi.study.history import Step, history
from onnxfi.study.journal import Journal
from onnxfi.study.positions import told_apart
from onnxfi.study.rates import Rates
from onnxfi.study.result import Cost
from onnxfi.study.scheme import Scheme
from onnxfi.study.targets import Targets


@dataclass(frozen=True)
class Finding:
    """`about` and `identity` as in study.json, the latter as a dict. `plan`: that of the identity, with what the study
    added to it. `reached`: the plan got what it is for. `by_bits`: the same trials, told apart by class of bits, where
    the plan draws from coarser strata; else `rates` again.

    `evidence`: what the trials mean; None where study.json does not tell the fault-free answers.
    """

    targets: Targets
    scheme: Scheme
    rates: Rates
    by_bits: Rates
    channels: tuple[ChannelRate, ...]
    cost: Cost
    plan: Mapping[str, Any]
    reached: bool
    identity: Mapping[str, Any]
    about: Mapping[str, Any]
    evidence: Evidence | None = None
    history: tuple[Step, ...] = ()


def find(journal: Journal, targets: Targets, scheme: Scheme, images: int, confidence: float) -> Finding:
    """Recompute everything from the journal, finished or not."""
    strata = len(scheme.strata)
    tables = [journal.counts(number, strata) for number in range(len(journal.rounds()))]
    table = sum(tables, np.zeros((strata, 5), np.int64))
    rounds = [Tally(table[:, 1:]) for table in tables]
    rates = Rates(scheme.strata, table[:, 0], table[:, 1:], images, scheme.crossed, confidence)
    said = journal.about.get("answers")
    return Finding(
        targets,
        scheme,
        rates,
        told_apart(targets.space, rates, journal.results()),
        tuple(channel_rates(targets, rates, journal.results(), journal.identity.plan.get("negative", {}))),
        journal.cost(),
        scheme.settled(rounds),
        scheme.reached(rounds),
        asdict(journal.identity),
        journal.about,
        gather(journal.results(), rates, scheme.factors, Answers.restore(said)) if said else None,
        history(journal, rates, scheme.factors),
    )
