"""What a trial did to the answer: golden and faulty logits in, one record out."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from onnxfi.faults.bits import Word

MASKED, NON_CRITICAL, CRITICAL = 0, 1, 2

RECORD = np.dtype(
    [
        ("fault", "<u8"),
        ("image", "<u4"),
        ("outcome", "u1"),
        ("finite", "u1"),
        ("rank", "<u2"),
        ("top1", "<i4"),
        ("confidence", "<f4"),
        ("margin", "<f4"),
    ]
)
"""One trial's outcome, as the journal keeps it: fault id; image; MASKED, NON_CRITICAL or CRITICAL; 1 where every faulty
logit is finite; rank of the golden top-1 among the faulty logits (0: still first); faulty top-1; confidence in the
golden top-1 under the fault; faulty logit of the golden top-1 less the best other. The last two are NaN where
`finite` is 0."""


class Criterion(Protocol):
    """Golden and faulty outputs in, records out: what `top1` is the first of."""

    def __call__(
        self, golden: NDArray[Any], faulty: NDArray[Any], golden_class: NDArray[np.int32] | None = None
    ) -> NDArray[np.void]: ...


def top1(golden: NDArray[Any], faulty: NDArray[Any], golden_class: NDArray[np.int32] | None = None) -> NDArray[np.void]:
    """RECORD (T,), with `fault` and `image` left 0, of logits (T, C) of one float or integer dtype.

    Masked: equal bit for bit (so -0 is not +0, and a NaN equals itself). Else a non-finite logit is critical whatever
    the order of the logits, and else critical is: the faulty top-1 is not `golden_class` (T,), by default the top-1
    of `golden`. Among equal logits the lower index is first; a NaN is before every number, as numpy's argmax has it.
    """
    if golden.shape != faulty.shape or golden.ndim != 2 or golden.dtype != faulty.dtype:
        raise ValueError(
            f"logits must agree in shape (T, C) and dtype: {golden.shape} {golden.dtype}, {faulty.shape} {faulty.dtype}"
        )
    word = Word(golden.dtype.name)
    records = np.zeros(len(golden), RECORD)
    with np.errstate(invalid="ignore", over="ignore"):  # signalling NaN, and margins beyond float32
        before, after = (_ordered(logits) for logits in (golden, faulty))
        _judge(records, before, after, golden_class)
    masked = (word.words(golden) == word.words(faulty)).all(axis=1)
    records["outcome"] = np.where(masked, MASKED, records["outcome"])
    return records


def _judge(
    records: NDArray[np.void], before: NDArray[Any], after: NDArray[Any], golden_class: NDArray[np.int32] | None
) -> None:
    """Fill in every field of `records`, `outcome` as if none were masked."""
    reference = before.argmax(axis=1) if golden_class is None else np.asarray(golden_class, np.int64)
    finite = np.isfinite(after).all(axis=1)
    records["finite"] = finite
    records["top1"] = after.argmax(axis=1)
    records["rank"] = _rank(after, reference)
    records["confidence"] = np.where(finite, _confidence(before, after, reference), np.nan)
    records["margin"] = np.where(finite, _margin(after, reference), np.nan)
    critical = ~finite | (records["top1"] != reference)
    records["outcome"] = np.where(critical, CRITICAL, NON_CRITICAL)


def _ordered(logits: NDArray[Any]) -> NDArray[Any]:
    """The same numbers in a dtype that numpy orders and computes with: integers as they are, floats as float64."""
    return logits if logits.dtype.kind in "iu" else logits.astype(np.float64)


def _rank(logits: NDArray[Any], reference: NDArray[np.int64]) -> NDArray[np.uint16]:
    own = np.take_along_axis(logits, reference[:, None], axis=1)
    unordered, own_unordered = np.isnan(logits), np.isnan(own)
    better = (logits > own) | (unordered & ~own_unordered)
    level = (logits == own) | (unordered & own_unordered)
    lower = np.arange(logits.shape[1]) < reference[:, None]
    return np.asarray(np.minimum((better | (level & lower)).sum(axis=1), 65535), np.uint16)


def _confidence(golden: NDArray[Any], faulty: NDArray[Any], reference: NDArray[np.int64]) -> NDArray[np.float64]:
    """Probability of `reference`, (T,): the value itself where the golden row is a distribution, else softmax's."""
    chosen = np.take_along_axis(faulty, reference[:, None], axis=1)[:, 0].astype(np.float64)
    whole = golden.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        distribution = (whole >= 0).all(axis=1) & (np.abs(whole.sum(axis=1) - 1) < 1e-3)
        shifted = np.exp(faulty - faulty.max(axis=1, keepdims=True).astype(np.float64))
        softmax = np.take_along_axis(shifted, reference[:, None], axis=1)[:, 0] / shifted.sum(axis=1)
    return np.where(distribution, chosen, softmax)


def _margin(faulty: NDArray[Any], reference: NDArray[np.int64]) -> NDArray[np.float64]:
    """Value of `reference` less the best other's, (T,); infinite where there is no other."""
    others = faulty.astype(np.float64)
    chosen = np.take_along_axis(others, reference[:, None], axis=1)[:, 0]
    np.put_along_axis(others, reference[:, None], -np.inf, axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray(chosen - others.max(axis=1))
