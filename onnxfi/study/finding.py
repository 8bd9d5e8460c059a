"""What a study found: everything that its tables need, from its journal alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from onnxfi.study.adaptive import Tally
from onnxfi.study.channels import ChannelRate, channel_rates
from onnxfi.study.journal import Journal
from onnxfi.study.rates import Rates
from onnxfi.study.result import Cost
from onnxfi.study.scheme import Scheme
from onnxfi.study.targets import Targets


@dataclass(frozen=True)
class Finding:
    """`about` and `identity` as in study.json, the latter as a dict. `reached`: the plan got what it is for."""

    targets: Targets
    scheme: Scheme
    rates: Rates
    channels: tuple[ChannelRate, ...]
    cost: Cost
    reached: bool
    identity: Mapping[str, Any]
    about: Mapping[str, Any]


def find(journal: Journal, targets: Targets, scheme: Scheme, images: int, confidence: float) -> Finding:
    """Recompute everything from the journal, finished or not."""
    table = np.zeros((len(scheme.strata), 5), np.int64)
    for number in range(len(journal.rounds())):
        table += journal.counts(number, len(scheme.strata))
    rates = Rates(scheme.strata, table[:, 0], table[:, 1:], images, scheme.crossed, confidence)
    return Finding(
        targets,
        scheme,
        rates,
        tuple(channel_rates(targets, rates, journal.results())),
        journal.cost(),
        scheme.reached(Tally(rates.counts)),
        asdict(journal.identity),
        journal.about,
    )
