"""What every tool that replays fault lists counts, as yes-or-no facts of one trial that add up over images.

    rule                   masked                          critical
    onnxfi                 logits equal bit for bit        a logit is not finite, or another top-1 than fault-free
    sfi                    logits equal (-0 is 0)          another numpy argmax, which takes a NaN for the largest
    keras-weight-injector  logits equal (-0 is 0)          the fault-free top-1 is not in numpy's argpartition

Non-critical is the rest. Under the last rule a tie may make a trial masked and critical at once, and the non-critical
ones are then one fewer: that tool's own arithmetic. A NaN is never equal to anything under the last two.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.faults.bits import Word
from onnxfi.faults.forms import NanRule
from onnxfi.faults.listing import Counts, Scores

FACTS = (
    "identical",
    "equal",
    "same",
    "kept",
    "finite",
    "robust1",
    "robust5",
    "correct1",
    "correct5",
)
"""Of the faulty logits: equal to the golden ones bit for bit; equal as numbers; the same argmax; that and all finite;
all finite; golden top-1 in argpartition's top 1, top 5; label in its top 1, top 5 (never where there are no labels)."""

JUDGED = np.dtype([("fault", "<u8"), *((name, "?") for name in FACTS)])
"""The facts of one trial."""

TALLY = np.dtype([("row", "<u4"), ("images", "<u4"), *((name, "<u4") for name in FACTS)])
"""How many of so many images each fact holds for, under the fault of one row of a list."""

_TOP = 5


def judge(
    golden: NDArray[Any], faulty: NDArray[Any], golden_class: NDArray[Any], labels: NDArray[Any] | None
) -> NDArray[np.void]:
    """JUDGED (T,), `fault` left 0, of logits (T, C) of one dtype, golden top-1 (T,) and labels (T,)."""
    found = np.zeros(len(golden), JUDGED)
    word = Word(golden.dtype.name)
    found["identical"] = (word.words(golden) == word.words(faulty)).all(axis=1)
    with np.errstate(invalid="ignore"):
        found["equal"] = (golden == faulty).all(axis=1)
        found["same"] = faulty.argmax(axis=1) == golden_class
        found["finite"] = np.isfinite(faulty).all(axis=1)
        found["kept"] = found["same"] & found["finite"]
        for top, number in (("1", 1), ("5", min(_TOP, faulty.shape[1]))):
            first = np.argpartition(faulty, -number, axis=1)[:, -number:]
            found[f"robust{top}"] = (first == golden_class[:, None]).any(axis=1)
            if labels is not None:
                found[f"correct{top}"] = (first == labels[:, None]).any(axis=1)
    return found


def add_up(row: NDArray[Any], judged: NDArray[np.void]) -> NDArray[np.void]:
    """TALLY, one a row in the order of their first trial, of the facts (T,) of rows (T,), which come row after row."""
    starts = np.flatnonzero(np.r_[True, row[1:] != row[:-1]]) if len(row) else np.zeros(0, np.int64)
    tally = np.zeros(len(starts), TALLY)
    tally["row"], tally["images"] = row[starts], np.diff(np.r_[starts, len(row)])
    for name in FACTS:
        tally[name] = np.add.reduceat(judged[name].astype(np.uint32), starts) if len(starts) else 0
    return tally


def sums(tallies: NDArray[np.void], rows: int) -> NDArray[np.void]:
    """TALLY (rows,), by row, of tallies (T,) of any order: images add up, and facts."""
    total = np.zeros(rows, TALLY)
    total["row"] = np.arange(rows)
    for name in ("images", *FACTS):
        np.add.at(total[name], tallies["row"], tallies[name])
    return total


def counts(tally: Any, rule: NanRule, labels: bool = False) -> Counts:
    """One TALLY as a list's columns under `rule`; with `labels`, the scores of a report, too."""
    number = {name: int(tally[name]) for name in ("images", *FACTS)}
    masked, kept = {
        "onnxfi": ("identical", "kept"),
        "sfi": ("equal", "same"),
        "keras-weight-injector": ("equal", "robust1"),
    }[rule]
    scores = Scores(*(number[name] for name in ("correct1", "correct5", "robust1", "robust5"))) if labels else None
    critical = number["images"] - number[kept]
    return Counts(number["images"], number[masked], number[kept] - number[masked], critical, scores)
