"""Units of work: what one worker draws, runs and hands back whole. They follow from the plan, never the machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.faults.space import TRIAL, FaultSpace, Stratum
from onnxfi.study.sampling import Permutation

UNIT = 512
"""Trials in a unit, at most (a fault that is run on more images than that is a unit by itself)."""


@dataclass(frozen=True)
class Piece:
    """The draws [start, stop) of one stratum."""

    stratum: int
    start: int
    stop: int


@dataclass(frozen=True)
class Unit:
    """Work that is done and written down as a whole: the `index`-th of its round."""

    round: int
    index: int
    pieces: tuple[Piece, ...]


def units(
    number: int,
    allocation: NDArray[np.int64],
    done: NDArray[np.int64],
    strata: Sequence[Stratum],
    images: int,
    crossed: bool = False,
) -> Iterator[Unit]:
    """Cut round `number` into units: each of one (target, layer), at most UNIT trials.

    `allocation` and `done` (H,) are the further and the earlier draws of each stratum: (fault, image) pairs, or where
    the plan is `crossed` faults, each of which runs on all `images`.
    """
    room = max(1, UNIT // images) if crossed else UNIT
    places: dict[tuple[str, int], list[int]] = {}
    for h, stratum in enumerate(strata):
        places.setdefault((stratum.target, stratum.layer), []).append(h)
    index = 0
    for members in places.values():
        pieces: list[Piece] = []
        left = room
        for h in members:
            start, stop = int(done[h]), int(done[h] + allocation[h])
            while start < stop:
                end = min(stop, start + left)
                pieces.append(Piece(h, start, end))
                left -= end - start
                start = end
                if left == 0:
                    yield Unit(number, index, tuple(pieces))
                    index, pieces, left = index + 1, [], room
        if pieces:
            yield Unit(number, index, tuple(pieces))
            index += 1


def draw(
    unit: Unit, space: FaultSpace, strata: Sequence[Stratum], images: int, seed: int, crossed: bool = False
) -> NDArray[np.void]:
    """The TRIAL records of a unit, piece after piece; of a crossed unit fault after fault, each on images 0, 1, ....

    A draw is the next value of the stratum's own permutation, of its (fault, image) pairs or, crossed, of its faults.
    """
    parts: list[NDArray[Any]] = []
    for piece in unit.pieces:
        stratum = strata[piece.stratum]
        each = 1 if crossed else images
        drawn = Permutation(stratum.population * each, seed, piece.stratum).at(np.arange(piece.start, piece.stop))
        fault, image = np.divmod(drawn, np.uint64(each))
        if crossed:
            fault, image = np.repeat(fault, images), np.tile(np.arange(images, dtype=np.uint64), len(fault))
        parts.append(space.trials(stratum.faults(fault), image))
    return np.concatenate(parts) if parts else np.zeros(0, TRIAL)
