"""Which layer of one network is which of another: told by the values of their weights, never by name or order.

Two layers are the same where the one's weight, its axes put in another order, is the other's. Where exporters folded
BatchNormalization into one of them, it is what the layers really multiply by that agrees (onnxfi.graph.affine). The
pairs are those of a linear assignment, so that no layer is matched twice; equal weights are told apart by place.
What is left over and agrees in its shapes, in order, is paired by shape alone: its rates can be compared, its faults
cannot.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from onnxfi.parity.arrange import Arrangement, weight_arrangements
from onnxfi.parity.kernels import Kernel

Array = NDArray[Any]
Form = Literal["stored", "folded", "shape"]

FORMS = {
    "stored": "the weights as the files store them",
    "folded": "what the layers multiply by, BatchNormalization folded in on one side",
    "shape": "place and shape alone",
}

TOLERANCE = {"float64": 1e-4, "float32": 1e-4, "float16": 4e-3, "bfloat16": 3e-2}
"""Largest difference, relative to the largest weight, of weights that are still the same; by stored type.

Folding rounds to about 1e-7 of a weight; another epsilon (1e-3 for 1e-5) would show with about 1e-3. float16 rounds to
2^-11 and bfloat16 to 2^-8 of a weight. Integers have steps of their largest weight / 127, often of each channel.
"""
_INTEGER = 2e-2
_PLACE = 1e-12


@dataclass(frozen=True)
class Pair:
    """Layer `a` of one network and `b` of the other.

    form         how they were told to be the same, see FORMS
    arrangement  of `a`'s weight, output channel first, to `b`'s; None where shapes alone agree
    difference   largest difference of the weights in that form, relative to the largest weight; None likewise
    shift        the same of biases, everything that is added to a channel taken together
    identical    whether the stored words are equal bit for bit, up to their order
    rivals       other layers of the second network that agree as well; their places told them apart
    """

    a: Kernel
    b: Kernel
    form: Form
    arrangement: Arrangement | None
    difference: float | None
    shift: float | None
    identical: bool
    rivals: tuple[str, ...] = ()

    @property
    def replayable(self) -> bool:
        """Whether a bit of a stored word of `a` is a bit of a stored word of `b`."""
        return self.form == "stored" and self.why is None

    @property
    def why(self) -> str | None:
        """Why a stored word of one has no stored word in the other; None where it has."""
        if self.form == "folded":
            return "BatchNormalization is folded into the weight on one side only: a flip in w * s is no flip in w"
        if self.form == "shape":
            return "the values differ: only shape and place agree"
        if self.a.stored.dtype != self.b.stored.dtype:
            return f"the words are {self.a.stored.dtype} here and {self.b.stored.dtype} there: they share no bits"
        if self.a.steps is None or self.b.steps is None:
            return "the graph computes the weight from its stored words, which cannot be followed one by one"
        return None

    @property
    def steps(self) -> tuple[Arrangement, ...]:
        """From the stored words of `a`'s weight to those of `b`'s; only of a pair that is replayable."""
        assert self.a.steps is not None and self.b.steps is not None and self.arrangement is not None
        return (*self.a.steps, self.arrangement, *(step.back for step in reversed(self.b.steps)))


@dataclass(frozen=True)
class Unmatched:
    """A layer without a partner, and why; `side` is 'a' or 'b'."""

    side: str
    layer: str
    why: str


@dataclass(frozen=True)
class Matching:
    """`pairs` in the order of the first network's layers."""

    pairs: tuple[Pair, ...]
    unmatched: tuple[Unmatched, ...]

    @property
    def told(self) -> tuple[Pair, ...]:
        """The pairs that agree in values."""
        return tuple(pair for pair in self.pairs if pair.form != "shape")


@dataclass(frozen=True)
class _Fit:
    difference: float
    form: Form
    arrangement: Arrangement | None


def match(a: Sequence[Kernel], b: Sequence[Kernel]) -> Matching:
    """Pair the layers of two networks."""
    fits = [[_fit(one, other) for other in b] for one in a]
    limits = [[_tolerance(one, other) for other in b] for one in a]
    chosen = _assign(fits, limits)
    pairs = {i: _pair(a[i], b[j], fits[i][j], _rivals(b, fits[i], limits[i], j)) for i, j in chosen.items()}
    rest_a = [i for i in range(len(a)) if i not in chosen]
    rest_b = [j for j in range(len(b)) if j not in set(chosen.values())]
    unmatched: list[Unmatched] = []
    if rest_a and [_size(a[i]) for i in rest_a] == [_size(b[j]) for j in rest_b]:
        for i, j in zip(rest_a, rest_b, strict=True):
            pairs[i] = Pair(a[i], b[j], "shape", None, None, None, False)
    else:
        unmatched += [Unmatched("a", a[i].layer.id, _why(b, fits[i])) for i in rest_a]
        unmatched += [Unmatched("b", b[j].layer.id, _why(a, [row[j] for row in fits])) for j in rest_b]
    return Matching(tuple(pairs[i] for i in sorted(pairs)), tuple(unmatched))


def _assign(fits: Sequence[Sequence[_Fit | None]], limits: Sequence[Sequence[float]]) -> dict[int, int]:
    """The linear assignment of least difference, less the pairs that differ too much."""
    if not fits or not fits[0]:
        return {}
    cost = np.full((len(fits), len(fits[0])), 2.0)
    for i, row in enumerate(fits):
        for j, fit in enumerate(row):
            if fit is not None and fit.difference <= limits[i][j]:
                cost[i, j] = fit.difference + _PLACE * abs(i / len(fits) - j / len(row))
    return {int(i): int(j) for i, j in zip(*linear_sum_assignment(cost), strict=True) if cost[i, j] < 2}


def _fit(a: Kernel, b: Kernel) -> _Fit | None:
    """How near the weights come in the better of their two forms; None where the shapes do not allow it."""
    rows = frozenset(row for row in (a.row, b.row) if len(row) > 1)
    arrangements = list(weight_arrangements(a.weight.shape, b.weight.shape, rows))
    if not arrangements:
        return None
    limit = _tolerance(a, b)
    stored = _nearest(a.weight, b.weight, arrangements, limit, "stored")
    if stored.difference <= limit or not (a.affine.folds or b.affine.folds):
        return stored
    folded = _nearest(a.effective, b.effective, arrangements, limit, "folded")
    return folded if folded.difference < stored.difference else stored


def _nearest(a: Array, b: Array, arrangements: Sequence[Arrangement], limit: float, form: Form) -> _Fit:
    """The first arrangement that brings the difference within `limit`, else the one of the least."""
    largest = max(float(np.abs(b).max(initial=0.0)), 1e-300)
    # Whatever the order, two arrays that differ by at most d anywhere have norms that differ by at most d sqrt(size).
    apart = abs(float(np.linalg.norm(a)) - float(np.linalg.norm(b))) / np.sqrt(a.size) / largest
    if apart > limit:
        return _Fit(apart, form, arrangements[0])
    found = []
    for each in arrangements:
        found.append(_Fit(float(np.abs(each.of(a) - b).max()) / largest, form, each))
        if found[-1].difference <= limit:
            return found[-1]
    return min(found, key=lambda fit: fit.difference)


def _pair(a: Kernel, b: Kernel, fit: _Fit | None, rivals: tuple[str, ...]) -> Pair:
    assert fit is not None and fit.arrangement is not None
    own, other = a.affine.shift, b.affine.shift
    shift = None
    if own.shape == other.shape:
        shift = float(np.abs(own - other).max()) / max(float(np.abs(other).max()), 1e-300)
    same = fit.form == "stored" and fit.difference == 0
    same = same and bool((np.signbit(fit.arrangement.of(a.weight)) == np.signbit(b.weight)).all())
    return Pair(a, b, fit.form, fit.arrangement, fit.difference, shift, same, rivals)


def _tolerance(a: Kernel, b: Kernel) -> float:
    return max(TOLERANCE.get(kernel.stored.dtype, _INTEGER) for kernel in (a, b))


def _size(kernel: Kernel) -> tuple[int, int]:
    return kernel.weight.shape[0], kernel.weight.size


def _rivals(b: Sequence[Kernel], fits: Sequence[_Fit | None], limits: Sequence[float], own: int) -> tuple[str, ...]:
    return tuple(
        kernel.layer.id
        for j, (kernel, fit, limit) in enumerate(zip(b, fits, limits, strict=True))
        if j != own and fit is not None and fit.difference <= limit
    )


def _why(others: Sequence[Kernel], fits: Sequence[_Fit | None]) -> str:
    found: Iterator[tuple[float, str]] = (
        (fit.difference, kernel.layer.id) for kernel, fit in zip(others, fits, strict=True) if fit is not None
    )
    nearest = min(found, default=None)
    if nearest is None:
        return "no layer of the other network has a weight of this shape, in whatever order of its axes"
    return f"its values differ from all others: {nearest[1]} is nearest, {nearest[0]:.2g} of the largest weight away"
