"""DeepVigor+ on real faults: every bit of a site decided from a few runs.

Where the paper ("DeepVigor+: Scalable and Accurate Semi-Analytical Fault Resilience Analysis for Deep Neural
Networks", arXiv 2410.15742) rounds deviations to powers of two (Eq. 11), moves a whole channel by one constant (Eq.
10), takes deviations beyond 2^10 for critical and pools error distributions, here

- candidates are the values that real flips make at that site: 32 of a word, 32 K of an output neuron of K operands;
- a weight's fault is run with its true pattern, epsilon times the input, at every position of its channel;
- the farthest candidate is run, not taken for critical; infinities and NaN are run apart; in layers that read the
  image, where answers change to and fro, candidates are tried one by one;
- sites that one run can show to be safe together are not searched one by one (onnxfi.vigor.together);
- thresholds, and the distribution of errors that they cut, belong to one site and one image.

VF of a pair is the share of its faults beyond its thresholds (Eq. 14); of a site, channel or layer the mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxfi.engine.deviation import Deviations
from onnxfi.faults.space import Region
from onnxfi.metrics.outcome import CRITICAL
from onnxfi.study.sampling import Permutation
from onnxfi.vigor.candidates import flips, operand_flips
from onnxfi.vigor.gradient import NO_SKIPS, Skips
from onnxfi.vigor.non_finite import Tried
from onnxfi.vigor.order import Order
from onnxfi.vigor.pairs import Array, Audit, audit, decide
from onnxfi.vigor.sample import Drawn
from onnxfi.vigor.search import Answers, Flags
from onnxfi.vigor.together import Settled, settle

_VALUES_A_JOB, _PAIRS_A_JOB = 1 << 21, 8192
_AUDIT_SHARE = 0.01


@dataclass(frozen=True)
class Part:
    """A job's answer. hits (P, B): share of each bit's faults that are critical; lower, upper (P,): delta- and delta+,
    infinite where no deviation to that side is critical; wild (P, B): share of each bit's faults that leave a logit NaN
    or infinite, all of them critical; tried: values run to know it; skips: of the gradient test, where it is on."""

    hits: NDArray[np.float32]
    lower: NDArray[np.float32]
    upper: NDArray[np.float32]
    wild: NDArray[np.float32]
    tried: int
    audit: Audit
    skips: Skips = NO_SKIPS


@dataclass(frozen=True)
class Pairs:
    """A job: pairs of site and image, (P,) each, of one region.

    region    number of the region whose words are changed; of kind output for mac, too
    mac       whether the faults are those of the neuron's operands, not of its word
    audited   (P,): which pairs are also tried whole; what that finds takes the place of what the search found
    pixels    whether the region is what a layer that reads the image multiplies: its values are tried one by one
    """

    region: int
    mac: bool
    bits: tuple[int, ...]
    image: NDArray[np.int64]
    site: NDArray[np.int64]
    audited: Flags
    pixels: bool = False

    def run(self, engine: Deviations) -> Part:
        """Decide every fault of every pair."""
        order = Order(engine.regions[self.region].dtype)
        values = engine.stored(self.region, self.image, self.site)
        golden, keys, log = order.keys(values), self.keys(engine, order, values), Tried(order)

        def attempt(row: NDArray[np.int64], changed: Array) -> Answers:
            records = engine.put(self.region, self.image[row], self.site[row], changed)
            log.add(row, order.keys(changed), records["finite"] == 0)
            return answers(engine, records)

        if self.mac or self.pixels:
            settled = Settled(golden, golden)
        else:
            settled = settle(engine, self.region, self.image, self.site, golden, keys)
        known = (settled.low, settled.high)
        found, critical = decide(order, golden, keys, attempt, engine.largest(self.region), self.pixels, known)
        measured = Audit()
        if self.audited.any():
            mine = np.flatnonzero(self.audited)
            measured, critical[mine] = audit(
                order, golden[mine], keys[mine], critical[mine], lambda r, v: attempt(mine[r], v)
            )
        wild, more = log.wild(golden, keys, self.audited, attempt)
        hits, lost = (
            flags.reshape(len(values), -1, len(self.bits)).mean(axis=1, dtype=np.float32)
            for flags in (critical, critical & wild)
        )
        lower, upper = (_deviation(order, bound, values) for bound in (found.lower, found.upper))
        return Part(hits, lower, upper, lost, int((found.tried + more).sum()) + settled.runs, measured)

    def keys(self, engine: Deviations, order: Order, values: Array) -> Array:
        """Candidates of each pair: (P, B), or (P, K, B) of operands."""
        if not self.mac:
            return flips(order, values, self.bits)
        operands = engine.operands(self.region)
        shape = (len(values), operands.count)
        image, neuron = (np.repeat(part, operands.count) for part in (self.image, self.site))
        x, w = operands.read(image, neuron, np.tile(np.arange(operands.count), len(values)))
        return operand_flips(order, x.reshape(shape), w.reshape(shape), values, self.bits)


def answers(engine: Deviations, records: NDArray[np.void]) -> Answers:
    """What RECORDs (T,) say of criticality, and of the margin that is left."""
    with np.errstate(all="ignore"):
        room = records["margin"].astype(np.float64) / engine.margins[records["image"]]
    return Answers(np.asarray(records["outcome"] == CRITICAL), room)


def jobs(number: int, region: Region, drawn: Drawn, seed: int, pixels: bool) -> Iterator[Pairs]:
    """The pairs of `drawn` in jobs, site by site. `region`: as asked for; `number`: the one to run.

    About one pair of a hundred is audited; of mac, whose pairs have thousands of values, so few that auditing costs
    about as much as searching. `pixels`: field of Pairs.
    """
    image, site = drawn.image.reshape(-1), np.repeat(drawn.site, drawn.image.shape[1])
    values = len(region.bits) * region.operands
    step = int(np.clip(_VALUES_A_JOB // values, 1, _PAIRS_A_JOB))
    share = min(_AUDIT_SHARE, 16 / values) if region.kind == "mac" else _AUDIT_SHARE
    audited = np.zeros(len(site), bool)
    audited[Permutation(len(site), seed, number).at(np.arange(max(1, round(share * len(site)))))] = True
    for start in range(0, len(site), step):
        here = slice(start, start + step)
        yield Pairs(number, region.kind == "mac", region.bits, image[here], site[here], audited[here], pixels)


def _deviation(order: Order, bound: NDArray[np.int64], values: Array) -> NDArray[np.float32]:
    """Value at a bound less the fault-free one; infinite at the open ends of the line."""
    open_ = (bound <= order.below) | (bound >= order.above)
    reached = order.values(np.where(open_, 0, bound).astype(order.dtype))
    with np.errstate(over="ignore"):
        deviation = (reached.astype(np.float64) - values.astype(np.float64)).astype(np.float32)
    return np.where(open_, np.where(bound < 0, -np.inf, np.inf), deviation).astype(np.float32)
