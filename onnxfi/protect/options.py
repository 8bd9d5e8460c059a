"""What could be done, each with what it costs and what it leaves: the rows of the plan."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from onnxfi.engine.levels import Ratio
from onnxfi.faults.bits import Word
from onnxfi.faults.guard import Guard
from onnxfi.metrics.estimate import Estimate
from onnxfi.metrics.fit import failures_in_time
from onnxfi.protect.ground import Field, Ground
from onnxfi.protect.sample import Sample


@dataclass(frozen=True)
class Option:
    """One way to protect one target.

    name      what is done; `at`: 'load' or 'live' for guards of weights, '' otherwise
    guards    by tensor; empty for what is no guard
    written   whether `protect` can write it; else it is a what-if: hardware or another storage format
    corrects  False where a fault is only detected
    size      bytes added; nodes: added to the graph
    latency   of an inference, over the original's; None where nothing was measured
    mvf, vf   what is left: mean of the layers, and of every bit alike; fit: of the latter
    front     nothing else costs no more and leaves no more; chosen: what the hardened model has
    """

    target: str
    name: str
    at: str
    guards: Mapping[str, Guard] = field(repr=False)
    written: bool
    corrects: bool
    size: int
    nodes: int
    latency: Ratio | None
    mvf: Estimate
    vf: Estimate
    fit: Estimate
    front: bool = False
    chosen: bool = False


@dataclass(frozen=True)
class Yard:
    """Makes options of one target from a sample, with MVF, VF and FIT."""

    sample: Sample
    per_mbit: float

    def option(
        self, name: str, variant: NDArray[np.int64], *, at: str = "", guards: Mapping[str, Guard] | None = None,
        written: bool = False, corrects: bool = True, size: int = 0, nodes: int = 0, latency: Ratio | None = None,
    ) -> Option:  # fmt: skip
        """`variant` (H,): which set of guards each stratum has; -1: corrected, whatever it is."""
        mine = self.sample.field
        target = mine.strata[0].target
        mvf = self.sample.mixed(mine.factors.mvf(target), variant)
        vf = self.sample.mixed(mine.factors.population(target), variant)
        assert mvf is not None and vf is not None
        fit = failures_in_time(self.per_mbit, vf)
        return Option(target, name, at, guards or {}, written, corrects, size, nodes, latency, mvf, vf, fit)

    def same(self, variant: int) -> NDArray[np.int64]:
        """One set of guards for all strata."""
        return np.full(len(self.sample.field.strata), variant)


def what_ifs(yard: Yard, ground: Ground) -> Iterator[Option]:
    """Codes and copies that a memory or a loader could have, for the words of one target.

    parity: a bit a word, which finds a flip and cannot mend it. SECDED: eight bits for each 64 (Hsiao, 1970). Triple:
    two more copies of chosen bits, or of all words of the most vulnerable quarter of the layers, and a vote.
    """
    mine = yard.sample.field
    target = mine.strata[0].target
    regions = [region for _, region in ground.numbered(target)]
    sites = sum(region.sites for region in regions)
    bits = sum(region.sites * Word(region.dtype).width for region in regions)
    corrected = yard.same(-1)
    yield yard.option("parity", corrected, corrects=False, size=-(-sites // 8))
    yield yard.option("SECDED", corrected, size=-(-bits // 64))
    for name, chosen in _bits(mine):
        variant = np.array([-1 if chosen(s.dtype, s.bits) else 0 for s in mine.strata])
        words = sum(r.sites * sum(chosen(r.dtype, (bit,)) for bit in r.bits) for r in regions)
        yield yard.option(f"triple {name}", variant, size=-(-2 * words // 8))
    worst = _weakest(yard.sample, target)
    variant = np.array([-1 if s.layer in worst else 0 for s in mine.strata])
    size = sum(2 * r.sites * Word(r.dtype).width // 8 for r in regions if r.layer in worst)
    yield yard.option(f"triple {len(worst)} of {len({s.layer for s in mine.strata})} layers", variant, size=size)


def _bits(field: Field) -> Iterator[tuple[str, Callable[[str, Sequence[int]], bool]]]:
    """The top bit below the sign, and the sign with the exponent (of integers: the top two bits)."""

    def top(dtype: str, bits: Sequence[int]) -> bool:
        return set(bits) <= {Word(dtype).width - 2}

    def upper(dtype: str, bits: Sequence[int]) -> bool:
        word = Word(dtype)
        return min(bits) >= (word.width - 2 if word.mantissa is None else word.mantissa)

    places = sorted({Word(stratum.dtype).width - 2 for stratum in field.strata})
    yield f"bit {'/'.join(map(str, places))}", top
    floats = any(Word(stratum.dtype).mantissa is not None for stratum in field.strata)
    yield "sign and exponent" if floats else "top two bits", upper


def _weakest(sample: Sample, target: str) -> set[int]:
    """The quarter of the layers, at least one, with the highest rate without guards."""
    layers = sorted({stratum.layer for stratum in sample.field.strata})
    known = {}
    for layer in layers:
        mine = np.array([float(s.population) * (s.layer == layer) for s in sample.field.strata])
        rate = sample.of(mine / mine.sum(), 0)
        known[layer] = rate.value if rate is not None and rate.value is not None else 0.0
    ranked = sorted(layers, key=lambda layer: -known[layer])
    return set(ranked[: -(-len(layers) // 4)])
