"""The same trials with and without guards: what a fault leaves of a word behind a guard, and how the answer ends.

A guard at a stored weight is arithmetic on one word, so the guarded trial is the plain one with another change: no
second model is needed. Guards at activations are nodes of a model of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.engine.deviation import Deviations
from onnxfi.faults.bits import Word
from onnxfi.faults.guard import Guard
from onnxfi.metrics.outcome import MASKED

Array = NDArray[Any]
Guards = Mapping[int, Guard]
"""Number of a region -> the guard at its tensor."""


@dataclass(frozen=True)
class Shots:
    """A job: `trials` (T,), as they are under each of several sets of guards. Its result: outcomes and finite, u1
    (V, T, 2), of each set; equal words are run once."""

    trials: Array
    variants: Sequence[Guards]

    def run(self, engine: Deviations) -> NDArray[np.uint8]:
        """On an engine that was prepared with the regions that the trials mean."""
        found = np.zeros((len(self.variants), len(self.trials), 2), np.uint8)
        for number in np.unique(self.trials["region"]):
            mine = np.flatnonzero(self.trials["region"] == number)
            dtype = engine.regions[number].dtype
            trials = self.trials[mine]
            image, site = trials["image"].astype(np.int64), trials["site"].astype(np.int64)
            stored = engine.stored(int(number), image, site)
            seen: list[tuple[Array, Array]] = []
            for variant, guards in enumerate(self.variants):
                words = self._words(stored, site, trials, guards.get(int(number)), dtype)
                found[variant, mine] = _outcomes(engine, trials, words, Word(dtype).words(stored), seen)
        return found

    @staticmethod
    def _words(stored: Array, site: Array, trials: Array, guard: Guard | None, dtype: str) -> Array:
        word = Word(dtype)
        words = word.words(np.ascontiguousarray(stored))
        kind = words.dtype
        faulty = (words & trials["keep"].astype(kind)) ^ trials["toggle"].astype(kind)
        return word.words(guard.apply(word.values(faulty), site)) if guard is not None else faulty


def _outcomes(engine: Deviations, trials: Array, words: Array, stored: Array, seen: list[tuple[Array, Array]]) -> Array:
    """(T, 2) of `words` (T,) in the place of `stored`; what `seen` knows of the same word is not run again."""
    result = np.zeros((len(trials), 2), np.uint8)
    result[:, 0], result[:, 1] = MASKED, 1
    left = words != stored
    for known, outcome in seen:
        same = left & (known == words)
        result[same] = outcome[same]
        left &= ~same
    rows = np.flatnonzero(left)
    if len(rows):
        asked = trials[rows].copy()
        asked["keep"], asked["toggle"] = 0, words[rows]
        records = engine.run(asked)
        result[rows, 0], result[rows, 1] = records["outcome"], records["finite"]
    seen.append((words, result))
    return result
