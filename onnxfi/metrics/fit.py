"""Failures in time: from a raw rate of bit upsets to a rate of wrong answers.

    FIT = R * bits / 10**6 * VF

with R in FIT per Mbit (upsets of one stored Mbit, 10**6 bits, in 10**9 hours), `bits` those that hold the words of a
layer or of the model, and VF the probability that an upset anywhere among them is critical. Assumed: upsets strike
every bit alike, one at a time, and stay until the answer was used, and nothing corrects them. An activation word lives
for a part of the inference only, and shares its memory with others, so the FIT of activations is an upper bound. Eq. 15
of DeepVigor+ is no probability and gives no FIT.

ISO 26262-5 (table 6) asks for fewer than 10 FIT of random hardware failures, of the whole item, at ASIL D.
"""

from __future__ import annotations

from onnxfi.metrics.estimate import Estimate

MBIT = 10**6
ASIL_D = 10.0
"""FIT that ISO 26262 leaves to a whole item at ASIL D."""


def failures_in_time(per_mbit: float, vf: Estimate) -> Estimate:
    """FIT, with its interval, of the bits that `vf` speaks for: its population is bits, one flip of each.

    Raises ValueError for a rate that is negative or not finite.
    """
    if not 0 <= per_mbit < float("inf"):
        raise ValueError(f"{per_mbit} FIT per Mbit is no rate")
    scale = per_mbit * vf.population / MBIT
    value = None if vf.value is None else vf.value * scale
    return Estimate(value, vf.low * scale, vf.high * scale, vf.trials, vf.population)
