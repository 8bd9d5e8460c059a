"""Drawing a fault list: how many faults of each layer (and bit), and which.

n(N, p) = N / (1 + e^2 (N - 1) / (t^2 p (1 - p))) of Leveugle et al. (DATE 2009); the plans are those of `classic`. The
published lists count every bit as two stuck-at faults, N = 2 * 32 * W, take t = 2.58 for 99 %, round with Python's
`round` and draw with Python's Mersenne Twister, layer after layer in the order of PyTorch's named_parameters: so the
same seed gives the published rows (dnn-benchmarks and SFIadvancedmodels: network-wise, e = 1 %, seed 42).
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from onnxfi.errors import FaultError
from onnxfi.faults.bits import Word
from onnxfi.faults.forms import Form
from onnxfi.faults.listing import Entry, FaultList
from onnxfi.faults.space import FaultSpace, Region
from onnxfi.graph.network import Network
from onnxfi.metrics.estimate import normal_deviate, sample_size
from onnxfi.metrics.prior import date23_table, from_weights
from onnxfi.study import classic
from onnxfi.study.list_settings import Draw, ListPlan
from onnxfi.study.listed import Weight, list_name, weights
from onnxfi.study.sampling import Permutation

Rates = NDArray[np.float64]

_BITS = 32
_HELD = 2  # a bit held at 0 and at 1 are two faults to those who drew the published lists


def draw_list(network: Network, asked: Draw) -> FaultList:
    """A list of `network`'s faults, numbered from 0, its layers called as the framework calls them.

    FaultError: a weight is not float32, which these lists are for, or two layers have one name.
    """
    found = weights(network)
    names = [list_name(network, weight) for weight in found]
    if not found:
        raise FaultError(f"{network.path.name} has no weight of rank 2 or more to draw faults of.")
    known = {weight.parameter.tensor for weight in found}
    if odd := next((layer for layer, p in network.parameters("weights") if p.tensor not in known), None):
        raise FaultError(
            f"The weight of layer {odd.id!r} reaches it by more than moving words: no index of a list leads into it."
        )
    for weight, name in zip(found, names, strict=True):
        if weight.parameter.dtype != "float32":
            raise FaultError(f"Layer {name!r} stores {weight.parameter.dtype}; fault lists are of float32 weights.")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise FaultError(f"{network.path.name} has two layers called {twice!r}; a list could not tell them apart.")
    form = asked.form
    if form == "auto":
        form = "keras" if network.metadata.get("onnxfi.framework") == "keras" else "pytorch"
    shapes = [weight.view("pytorch").shape for weight in found]
    p = _p(network, found, asked)
    if asked.generator == "published":
        drawn = published(shapes, published_counts(shapes, asked.plan, asked.margin, asked.confidence, p), asked.seed)
    else:
        drawn = own(shapes, asked, p)
    rows = tuple(
        Entry(number, names[layer], _as(found[layer], form, names[layer], index), bit)
        for number, (layer, index, bit) in enumerate(drawn)
    )
    covered = {entry.layer for entry in rows}
    return FaultList(network.path.name, rows, uncovered=tuple(name for name in names if name not in covered))


def _as(weight: Weight, form: Form, name: str, index: tuple[int, ...]) -> tuple[int, ...]:
    if form == "pytorch":
        return index
    site = weight.layout.sites(np.array([index]))
    return tuple(int(part) for part in weight.view(form, name).indices(site)[0])


def _p(network: Network, found: Sequence[Weight], asked: Draw) -> Rates:
    """p of bits 0 to 31, (32,)."""
    if asked.plan != "data-aware":
        return np.full(_BITS, 0.5)
    if asked.p == "date23-table":
        return date23_table()
    return from_weights((network.stored(weight.parameter.tensor) for weight in found), Word("float32"))


def published_counts(
    shapes: Sequence[tuple[int, ...]], plan: ListPlan, margin: float, confidence: float, p: Rates
) -> list[tuple[tuple[int, ...] | None, int]]:
    """How many faults of each layer, as the authors of the published lists count them.

    One (bits, faults) for each layer; of the plans that go bit by bit, 32 for each: (that bit alone, faults).
    """
    t = round(normal_deviate(confidence), 2)
    sizes = [math.prod(shape) for shape in shapes]

    def needed(words: int, bits: int, rate: float) -> int:
        return round(float(sample_size(words * bits * _HELD, margin, t, rate)))

    if plan == "network":
        whole = needed(sum(sizes), _BITS, 0.5)
        return [(None, round(size * whole / sum(sizes))) for size in sizes]
    if plan == "layer":
        return [(None, needed(size, _BITS, 0.5)) for size in sizes]
    return [((bit,), needed(size, 1, float(p[bit]))) for size in sizes for bit in range(_BITS)]


def published(
    shapes: Sequence[tuple[int, ...]], counts: Sequence[tuple[tuple[int, ...] | None, int]], seed: int
) -> Iterator[tuple[int, tuple[int, ...], int]]:
    """(layer, index, bit) as Python's Mersenne Twister draws them: one number a dimension, then the bit.

    What was drawn before is drawn again until it is new. More faults than there are would never end: all are taken
    then, in order.
    """
    twister = random.Random(seed)
    each = len(counts) // len(shapes)
    for place, (bits, count) in enumerate(counts):
        layer = place // each
        shape = shapes[layer]
        if count >= math.prod(shape) * (_BITS if bits is None else len(bits)):
            for index in np.ndindex(*shape):
                yield from ((layer, index, bit) for bit in bits or range(_BITS))
            continue
        seen: set[tuple[tuple[int, ...], int]] = set()
        while len(seen) < count:
            index = tuple(twister.randint(0, size - 1) for size in shape)
            bit = twister.randint(0, _BITS - 1) if bits is None else bits[0]
            if (index, bit) not in seen:
                seen.add((index, bit))
                yield layer, index, bit


def own(shapes: Sequence[tuple[int, ...]], asked: Draw, p: Rates) -> Iterator[tuple[int, tuple[int, ...], int]]:
    """(layer, index, bit) without replacement, by the permutations that studies draw with; layer after layer."""
    bits = tuple(range(_BITS - 1, -1, -1))
    regions = [
        Region("weights", "weight", layer, str(layer), math.prod(shape), "float32", bits)
        for layer, shape in enumerate(shapes)
    ]
    space = FaultSpace(regions)
    strata = classic.fixed_strata(asked.plan, space)
    groups = {"network": [0] * len(strata), "layer": [stratum.layer for stratum in strata]}
    counts = classic.fault_counts(
        [stratum.population for stratum in strata],
        groups.get(asked.plan, list(range(len(strata)))),
        asked.margin,
        normal_deviate(asked.confidence),
        np.array([p[stratum.bits[0]] for stratum in strata]) if asked.plan.startswith("data") else 0.5,
    )
    for number, (stratum, count) in enumerate(zip(strata, counts, strict=True)):
        drawn = Permutation(stratum.population, asked.seed, number).at(np.arange(min(count, stratum.population)))
        region, site, bit = space.locate(stratum.faults(drawn))
        index = np.stack(np.unravel_index(site.astype(np.int64), shapes[stratum.layer]), axis=1)
        for row in range(len(bit)):
            yield int(region[row]), tuple(index[row].tolist()), int(bit[row])
