"""DeepVigor+ as the paper means it (arXiv 2410.15742), where the text leaves it open as follows.

- The network is in evaluation mode: what was exported. Golden class t: argmax of fault-free logits.
- Fault model: activations are one operand of one output neuron (Eq. 5), weights one word of a filter (Eq. 8, 10); a
  filter's errors are those of all its weights, bits and output positions, zeros of the padding among the inputs.
- EDM and VVSS belong to one image (the text; the authors' code pools a batch). Bins: onnxfi.vigor.edm.
- Vulnerability values: +1 and -1 are run first (boxes 1 to 3). Where 1 misclassifies, VVSS within (0, 1) is searched,
  else the rest; 1 is known by then. The walk starts in the middle, goes on while safe, and, which the text leaves out,
  goes back while the middle misclassifies. delta+ is the least candidate that misclassifies (Eq. 13; the flow chart's
  "does not" contradicts it); +-2^10 if none does, for larger errors count as critical (Section III-D).
- VF (Eq. 14) is 1 - (F(delta+) - F(delta-)) with the image's own F, mean over images. LVF is the mean over sites.
- The gradient test (boxes 4 and 5) is left out unless asked for (onnxfi.vigor.gradient): a zero gradient at 1 proves
  nothing of larger deviations.
- A simulation is a forward pass of all images with one deviation each, as the paper counts.
- Sampling (Eq. 16): a share of the channels, and the logarithm of their neurons, or of a filter's positions; both
  rounded up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxfi.engine.deviation import Deviations
from onnxfi.faults.space import Region
from onnxfi.metrics.outcome import CRITICAL
from onnxfi.study.sampling import Permutation
from onnxfi.vigor.candidates import flipped
from onnxfi.vigor.deepvigor_plus import Part
from onnxfi.vigor.edm import EDGES, LARGEST, below, histogram, negative_edge, occurring, positive_edge
from onnxfi.vigor.gradient import Skips, Slopes
from onnxfi.vigor.order import Order
from onnxfi.vigor.pairs import Array, Audit
from onnxfi.vigor.sample import Drawn
from onnxfi.vigor.search import Flags
from onnxfi.vigor.settings import Sampling

Exponents = NDArray[np.int64]
Attempt = Callable[[NDArray[np.int64], NDArray[np.float64]], Flags]
"""Whether pairs (T,) misclassify at 2^rho, rho (T,), to one side."""
_PAIRS_A_JOB, _VALUES_AT_ONCE = 2048, 1 << 21
_AUDIT_SHARE, _LEAST_AUDITED, _STREAM = 0.02, 64, 1 << 35
_NONE = LARGEST  # what a side without a misclassifying candidate ends at


@dataclass(frozen=True)
class Walks:
    """A job: all images of some sites of one layer, channels for filters, else neurons.

    region     number of the region of words that the layer's op writes
    filters    whether the sites are filters
    site       (S,); image (I,), the same for all
    positions  of a filter's channel, as flat places in it, that its errors are counted at
    gradient   whether sides with a zero gradient are not searched; some of them, `audited` (S * I,), are all the same
    """

    region: int
    filters: bool
    bits: tuple[int, ...]
    site: NDArray[np.int64]
    image: NDArray[np.int64]
    positions: NDArray[np.int64]
    gradient: bool
    audited: Flags

    def run(self, engine: Deviations) -> Part:
        """VF of every pair, the same for each bit, for the paper's map does not tell bits apart."""
        image = np.tile(self.image, len(self.site))
        site = np.repeat(self.site, len(self.image))
        stored = None if self.filters else engine.stored(self.region, image, site)

        def wrong(row: NDArray[np.int64], delta: Array) -> Flags:
            if stored is None:
                records = engine.shift(self.region, image[row], site[row], delta)
            else:
                words = (stored[row] + delta.astype(stored.dtype)).astype(stored.dtype)
                records = engine.put(self.region, image[row], site[row], words)
            return np.asarray(records["outcome"] == CRITICAL)

        maps = self._maps(engine, image, site)
        negative, positive = occurring(maps)
        count = len(self.image)
        found, runs, skips = [], 0, Skips()
        for sign, candidates in ((-1, negative), (1, positive)):

            def attempt(row: NDArray[np.int64], rho: Array, sign: int = sign) -> Flags:
                return wrong(row, sign * 2.0**rho)

            skipped = self._flat(engine, image, site, sign) if self.gradient else None
            end, steps = walk(candidates, attempt, count, skipped)
            found.append(end)
            runs += steps
            if skipped is not None:
                skips += self._audited(skipped, candidates, attempt, maps, sign)
        low, high = found
        lower, upper = negative_edge(low), positive_edge(high)
        rate = 1 - (below(maps, upper) - below(maps, lower))
        hits = np.repeat(rate[:, None], len(self.bits), axis=1).astype(np.float32)
        bounds = EDGES[lower].astype(np.float32), EDGES[upper].astype(np.float32)
        return Part(hits, *bounds, np.zeros_like(hits), runs * count, Audit(), skips)

    def _flat(self, engine: Deviations, image: NDArray[np.int64], site: NDArray[np.int64], delta: float) -> Flags:
        """Whether the gradient is zero all over the target, with `delta` added to it."""
        places = engine.places(self.region, site) if self.filters else site[:, None]
        return Slopes.of(engine, self.region).none(image, places, delta)

    def _audited(
        self, skipped: Flags, candidates: Flags, attempt: Attempt, maps: NDArray[np.float64], sign: int
    ) -> Skips:
        """What the search says of those sides that were skipped and are audited."""
        mine = np.flatnonzero(skipped & self.audited)
        if not len(mine):
            return Skips(int(skipped.sum()))
        end, _ = walk(candidates[mine], lambda row, rho: attempt(mine[row], rho), 1)
        place = positive_edge if sign > 0 else negative_edge
        missed = np.abs(below(maps[mine], place(end)) - below(maps[mine], place(np.full_like(end, _NONE))))
        return Skips(int(skipped.sum()), len(mine), int((end != _NONE).sum()), float(missed.sum()))

    def _maps(self, engine: Deviations, image: NDArray[np.int64], site: NDArray[np.int64]) -> NDArray[np.float64]:
        """EDM of each pair, a few pairs at a time."""
        operands = engine.operands(self.region)
        order = Order(engine.regions[self.region].dtype)
        each = operands.count * len(self.bits) * (len(self.positions) if self.filters else 1)
        step = max(1, _VALUES_AT_ONCE // each)
        taps, parts = np.arange(operands.count), []
        for start in range(0, len(site), step):
            here = slice(start, start + step)
            neurons = engine.places(self.region, site[here])[:, self.positions] if self.filters else site[here, None]
            shape = (*neurons.shape, operands.count)
            spread = np.broadcast_to(neurons[..., None], shape).reshape(-1)
            pictures = np.broadcast_to(image[here, None, None], shape).reshape(-1)
            x, w = operands.read(pictures, spread, np.broadcast_to(taps, shape).reshape(-1))
            x, w = x.reshape(shape), w.reshape(shape)
            with np.errstate(all="ignore"):
                if self.filters:
                    kernel = w[:, 0]
                    epsilon = flipped(order, kernel, self.bits) - kernel[..., None]
                    errors = epsilon[:, None].astype(np.float64) * x[..., None]
                else:
                    x, w = x[:, 0], w[:, 0]
                    epsilon = flipped(order, x, self.bits) - x[..., None]
                    errors = epsilon.astype(np.float64) * w[..., None]
                parts.append(histogram(errors))
        return np.concatenate(parts)


def walk(candidates: Flags, wrong: Attempt, images: int, skipped: Flags | None = None) -> tuple[Exponents, int]:
    """The exponent rho of delta (P,) to one side, and the simulations that it took.

    candidates (P, 21): VVSS by rho from -10 up, sites one after the other with so many images each. wrong: whether
    pairs misclassify at 2^rho to this side. skipped (P,): after the run at 1 no more is tried, and none is found.
    """
    pairs = np.arange(len(candidates))
    at_one = wrong(pairs, np.zeros(len(pairs)))
    simulations = len(pairs) // images
    rho = np.arange(-LARGEST, LARGEST + 1)
    lists = candidates & np.where(at_one[:, None], rho < 0, rho > 0)
    size = lists.sum(axis=1)
    # The k-th candidate of each list, k from 0, by size; then where the walk stands and which way it goes.
    place = np.argsort(~lists, axis=1, kind="stable") - LARGEST
    stand, way = size // 2, np.zeros(len(pairs), np.int64)
    open_ = size > 0 if skipped is None else (size > 0) & ~skipped
    found = np.where(at_one if skipped is None else at_one & ~skipped, 0, _NONE)
    while open_.any():
        row = np.flatnonzero(open_)
        here = place[row, stand[row]]
        misclassified = wrong(row, here.astype(np.float64))
        simulations += len(np.unique(row // images))
        found[row] = np.where(misclassified, here, found[row])
        turn = np.where(misclassified, -1, 1)
        onward = (way[row] == 0) | (way[row] == turn)
        way[row], stand[row] = turn, stand[row] + turn
        open_[row] = onward & (stand[row] >= 0) & (stand[row] < size[row])
    return found, simulations


def jobs(
    number: int, drawn: Drawn, region: Region, positions: int, sampling: Sampling, gradient: bool
) -> Iterator[Walks]:
    """The sites of `drawn`, some at a time. `positions`: how many a channel has; `number`: the region to run."""
    taken = np.arange(positions)
    if sampling.channels is not None:
        some = np.arange(max(1, math.ceil(math.log2(positions))))
        taken = np.sort(Permutation(positions, sampling.seed, number).at(some).astype(np.int64))
    image = np.arange(drawn.images)
    step = max(1, _PAIRS_A_JOB // len(image))
    every = np.zeros(drawn.image.size, bool)
    audits = max(_LEAST_AUDITED, round(_AUDIT_SHARE * len(every))) if gradient else 0
    every[Permutation(len(every), sampling.seed, number + _STREAM).at(np.arange(min(audits, len(every))))] = True
    for start in range(0, len(drawn.site), step):
        site = drawn.site[start : start + step]
        audited = every[start * len(image) :][: len(site) * len(image)]
        yield Walks(number, region.target == "weights", region.bits, site, image, taken, gradient, audited)
