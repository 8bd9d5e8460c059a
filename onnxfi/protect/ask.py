"""What is asked of `onnxfi protect`, as a frozen record: plain data, light to import."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from onnxfi.errors import StudyError

At = Literal["auto", "load", "live"]
KINDS = ("mask", "check", "vote", "clip")

VOTES = 0.01
"""Share of the weights' bytes that copies for votes may add."""


LIVE_LIMIT = 0.03
"""Without a budget, guards of weights are live where that slows an inference by no more than this."""


@dataclass(frozen=True)
class Remedy:
    """Which guards, at what cost, and how surely that is known.

    guards        of 'mask' (bits that all words of a row share are put back), 'check' (a weight beyond its row's range
                  becomes 0), 'vote' (two more copies of the smallest tensors) and 'clip' (an activation beyond the
                  range seen becomes 0, or the bound)
    latency       most that an inference may take longer, as a fraction; None: weights as `LIVE_LIMIT` says, activations
                  whatever it costs
    size          most bytes that guards may add; None: no limit
    at            'live': guards of weights run with every inference; 'load': the runtime may fold them when it loads
                  the model; 'auto': live where the budget allows it
    headroom      activations may be so many times as large as any seen on the images of the bounds
    ranges        a folder of `onnxfi vigor --out`: activations may be as large as it found no deviation critical; None:
                  `headroom` alone says
    calibration   share of the images that bounds are taken from; the others are for the proof
    precision     of each MVF without guards, half-width
    confidence    of every interval
    trials        most faults that a proof draws of weights, and of activations
    fit_per_mbit  raw rate of bit upsets, in FIT per Mbit
    batch         images a run, where time is measured
    seed          of every draw
    """

    guards: tuple[str, ...] = KINDS
    latency: float | None = None
    size: int | None = None
    at: At = "auto"
    headroom: float = 2.0
    ranges: str | None = None
    calibration: float = 0.5
    precision: float = 0.001
    confidence: float = 0.99
    trials: int = 60_000
    fit_per_mbit: float = 1.0
    batch: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in self.guards:
            if name not in KINDS:
                raise StudyError(f"--guards has {name!r}; give some of {', '.join(KINDS)}.")
        if not self.guards:
            raise StudyError(f"--guards is empty; give some of {', '.join(KINDS)}.")
        if not 1 <= self.headroom < float("inf"):
            raise StudyError(f"--headroom is {self.headroom}; give 1 or more.")
        for option, share in (("--calibration", self.calibration), ("--confidence", self.confidence)):
            if not 0 < share < 1:
                raise StudyError(f"{option} is {share}; give a fraction between 0 and 1.")
        if not self.precision > 0:
            raise StudyError(f"--precision is {self.precision}; give a fraction above 0, such as 0.001.")
        if self.trials < 1 or self.batch < 1 or self.seed < 0:
            raise StudyError("--trials and --batch are 1 or more, and --seed is 0 or more.")
        if not 0 <= self.fit_per_mbit < float("inf"):
            raise StudyError(f"--fit-per-mbit is {self.fit_per_mbit}; give a rate of 0 or more.")


def budget(text: str) -> tuple[float | None, int | None]:
    """(latency, size) from '3%' (time of an inference), '4KiB' (memory), or both with a comma between.

    >>> budget('3%,4KiB')
    (0.03, 4096)

    Raises StudyError for anything else.
    """
    latency: float | None = None
    size: int | None = None
    for part in text.split(","):
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%|b|kib|mib)", part.strip().lower())
        if not found:
            raise StudyError(
                f"--budget has {part!r}; give a latency such as 3%, a size such as 4KiB, or both as 3%,4KiB."
            )
        number, unit = float(found[1]), found[2]
        if unit == "%":
            latency = number / 100
        else:
            size = int(number * {"b": 1, "kib": 2**10, "mib": 2**20}[unit])
    return latency, size
