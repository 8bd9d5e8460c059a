"""Strata of weights split by their sign, where it tells much: at the top exponent bit of a float.

A flip there makes a weight huge, and before a ReLU it is the sign that says which way: nine in ten of one sign change
the answer, few of the other. The sign is known before the first trial and its numbers are counted exactly, so the split
is fair whatever the network, and a study of weights needs up to a quarter fewer trials.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.faults.bits import Word, bit_set
from onnxfi.faults.space import FaultSpace, Region, Stratum
from onnxfi.study.targets import Targets

Negative = Mapping[str, str]
"""Region number -> how many weights of each of its channels are negative, as text: one short line of a study.json."""


def split_bits(word: Word) -> tuple[int, ...]:
    """The bits at which weights of one sign are strata of their own."""
    return () if word.mantissa is None else (word.width - 2,)


def count_negative(targets: Targets, stored: Callable[[str], NDArray[Any]]) -> Negative:
    """What the strata of a study are split by. stored: the values of a weight tensor, by its name."""
    found = {}
    for number, (region, channels) in enumerate(zip(targets.space.regions, targets.channels, strict=True)):
        if _splits(region):
            home = channels.of(np.flatnonzero(_negative(region, stored)))
            found[str(number)] = " ".join(map(str, np.bincount(home, minlength=channels.count)))
    return found


def split_strata(
    space: FaultSpace, negative: Negative, stored: Callable[[str], NDArray[Any]] | None
) -> tuple[Stratum, ...]:
    """The strata, of feature '1' where the weight is negative. Without `stored` they cannot be drawn from."""
    flags: dict[int, NDArray[np.bool_] | int] = {}
    for number, counts in negative.items():
        region = space.regions[int(number)]
        flags[int(number)] = sum(_numbers(counts)) if stored is None else _negative(region, stored)
    return space.strata(flags, split_bits)


def channel_faults(targets: Targets, stratum: Stratum, channels: int, negative: Negative) -> NDArray[np.float64]:
    """How many faults of a stratum lie in each of so many channels of its layer, (channels,)."""
    if not stratum.feature:
        return np.full(channels, stratum.population / channels)
    faults = np.zeros(channels)
    for number, counts in negative.items():
        region = targets.space.regions[int(number)]
        if (region.target, region.layer, region.dtype) == (stratum.target, stratum.layer, stratum.dtype):
            ones = np.array(_numbers(counts), np.float64)
            if len(ones) != channels:  # as of a scalar beside a layer of channels: it belongs to none of them
                continue
            faults += len(stratum.bits) * (ones if stratum.feature == "1" else region.sites / channels - ones)
    return faults


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split()]


def _splits(region: Region) -> bool:
    return region.kind == "weight" and not set(split_bits(Word(region.dtype))).isdisjoint(region.bits)


def _negative(region: Region, stored: Callable[[str], NDArray[Any]]) -> NDArray[np.bool_]:
    word = Word(region.dtype)
    return bit_set(word.words(stored(region.tensor).ravel()), word.width - 1)
