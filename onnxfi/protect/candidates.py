"""What could guard this network: a guard for each stored tensor and for each activation that faults can hit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from onnxfi.engine.deviation import Deviations
from onnxfi.errors import StudyError
from onnxfi.faults.bits import Word
from onnxfi.faults.guard import Array, Guard, constant_bits, no_mask, vote_of
from onnxfi.graph.cut import Model
from onnxfi.graph.guards import stored_tensors
from onnxfi.protect.ask import VOTES
from onnxfi.protect.ground import Ground

MASKABLE = ("float16", "float32", "float64")
CHECKABLE = ("float32", "float64")
"""Dtypes for which every runtime has the ops that guards are made of."""

_MOST = 1 << 17  # words of a tensor that are looked at for shares


@dataclass(frozen=True)
class Caught:
    """Shares of all single flips in the stored words of a tensor: put back, made zero, and neither."""

    restored: float
    zeroed: float
    missed: float


@dataclass(frozen=True)
class Candidates:
    """weights: by tensor, mask and check together; `only` takes some of them. votes: of the smallest tensors, as many
    as `VOTES` allows. left_out: tensor -> why it has none."""

    weights: Mapping[str, Guard]
    votes: Mapping[str, Guard]
    left_out: Mapping[str, str]

    def only(self, *kinds: str, clamp: bool = False) -> dict[str, Guard]:
        """The guards reduced to these kinds ('mask', 'check', 'vote'), without those of which nothing is left."""
        found = {}
        for tensor, guard in self.weights.items():
            if "vote" in kinds and tensor in self.votes:
                found[tensor] = self.votes[tensor]
                continue
            some = guard
            if "mask" not in kinds:
                keep, put = no_mask(guard.dtype)
                some = replace(some, keep=keep, put=put)
            if "check" not in kinds:
                some = replace(some, low=(), high=())
            if not some.empty:
                found[tensor] = replace(some, clamp=clamp and some.checked)
        return found


def weight_guards(ground: Ground, file: Model) -> Candidates:
    """Masks and ranges of the stored weights of `ground`, as they stand in `file`."""
    words = stored_tensors(file)
    found: dict[str, Guard] = {}
    left_out: dict[str, str] = {}
    for _, region in ground.numbered("weights"):
        values = ground.network.stored(region.tensor)
        if region.dtype not in MASKABLE:
            left_out[region.tensor] = f"its words are {region.dtype}: {_whole(values)}"
        elif region.tensor not in words or words[region.tensor] != values.tobytes():
            left_out[region.tensor] = "the file does not hold it under this name"
        elif not np.isfinite(values.astype(np.float64)).all():
            left_out[region.tensor] = "it holds numbers that are not finite"
        else:
            found[region.tensor] = _by_row(values)
    return Candidates(found, _votes(ground, found), left_out)


def _votes(ground: Ground, guarded: Mapping[str, Guard]) -> dict[str, Guard]:
    sizes = {tensor: ground.network.stored(tensor).nbytes for tensor in guarded}
    room = VOTES * sum(sizes.values())
    found = {}
    for tensor in sorted(sizes, key=lambda name: sizes[name]):
        room -= 2 * sizes[tensor]
        if room < 0:
            break
        found[tensor] = vote_of(ground.network.stored(tensor))
    return found


def _by_row(values: Array) -> Guard:
    """Masks and ranges of each slice along the first axis: mostly of the weights of one output channel."""
    rows = values.reshape(len(values), -1)
    masks = [constant_bits(row) for row in rows]
    checked = values.dtype.name in CHECKABLE
    return Guard(
        values.dtype.name,
        tuple(keep for keep, _ in masks),
        tuple(put for _, put in masks),
        tuple(-_end(-low) for low in rows.min(axis=1)) if checked else (),
        tuple(_end(high) for high in rows.max(axis=1)) if checked else (),
        row=rows.shape[1],
    )


def _end(bound: np.floating[Any]) -> float:
    """The largest number of the bound's own binade; 0 for one below 0.

    A flip in the mantissa of the largest weight then stays in range: to make that weight 0 would do more harm.
    """
    if bound <= 0:
        return 0.0
    _, exponent = np.frexp(bound)
    return float(np.nextafter(np.ldexp(type(bound)(1), exponent), type(bound)(0)))


def caught(guard: Guard, values: Array) -> Caught:
    """What `guard` does about the single flips of the words of `values`; of a large tensor, of every n-th word."""
    word = Word(guard.dtype)
    site = np.arange(0, values.size, -(-values.size // _MOST))
    words = word.words(np.ascontiguousarray(values).reshape(-1)[site])
    restored = zeroed = 0
    for bit in range(word.width):
        flipped = words ^ words.dtype.type(1 << bit)
        after = word.words(guard.apply(word.values(flipped), site))
        restored += int((after == words).sum())
        zeroed += int(((after != words) & (after != flipped)).sum())
    total = words.size * word.width
    return Caught(restored / total, zeroed / total, 1 - (restored + zeroed) / total)


def bounds(ground: Ground, engine: Deviations, headroom: float, vigor: str | None = None) -> dict[str, Guard]:
    """Ranges of the activations that faults can hit, from the golden rows of `engine`'s images. Float tensors only.

    Each side is as far from zero as the farthest value seen there, `headroom` times; or, of a tensor that the folder
    `vigor` (of `onnxfi vigor --out`) knows, as far as no deviation that it found critical can reach, and never less
    than what was seen. Raises StudyError where there is no such folder.
    """
    known = _deviations(vigor) if vigor is not None else {}
    found = {}
    for number, region in ground.numbered("activations"):
        if region.dtype not in CHECKABLE or region.tensor == ground.network.output:
            continue
        low, high = engine.extent(number)
        ends = min(low, 0.0) * headroom, max(high, 0.0) * headroom
        if region.tensor in known:
            below, above = known[region.tensor]
            ends = min(low, _finite(high + below, ends[0])), max(high, _finite(low + above, ends[1]))
        found[region.tensor] = Guard(region.dtype, *no_mask(region.dtype), (ends[0],), (ends[1],))
    return found


def _finite(bound: float, other: float) -> float:
    """`other` where no deviation of that side is critical."""
    return bound if np.isfinite(bound) else other


def _deviations(folder: str) -> dict[str, tuple[float, float]]:
    """By tensor of stored activations, the critical deviations that are nearest to zero, downwards and upwards."""
    place = Path(folder)
    try:
        regions = pd.read_csv(place / "regions.csv")
        with np.load(place / "ranges.npz") as ranges:
            return {
                str(row.tensor): (
                    float(ranges[f"lower_{row.number}"].max()),
                    float(ranges[f"upper_{row.number}"].min()),
                )
                for row in regions.itertuples()
                if (row.target, row.kind) == ("activations", "input")
            }
    except (OSError, KeyError, ValueError, AttributeError) as error:
        raise StudyError(
            f"{folder} holds no ranges of activations; give the folder of `onnxfi vigor --activation input --out`."
        ) from error


def clamped(guards: Mapping[str, Guard]) -> dict[str, Guard]:
    """The same ranges, with a value beyond a bound made the bound."""
    return {tensor: replace(guard, clamp=True) for tensor, guard in guards.items()}


def _whole(values: NDArray[np.generic]) -> str:
    """Why a tensor of integers cannot be helped, in numbers."""
    word = Word(values.dtype.name)
    if word.mantissa is not None:
        return "no runtime has the ops of a guard for them"
    keep, put = constant_bits(values)
    guard = Guard(word.dtype, (keep,), (put,), (float(values.min()),), (float(values.max()),))
    shared = len(guard.restored)
    share = 1 - caught(guard, values).missed
    return (
        f"{shared} of {word.width} bits are shared by all, and mask and range would catch {100 * share:.1f} % of flips"
    )
