"""An engine without a model: outcomes are a hash of (fault, image), so that every process agrees on them.

In a file of its own, because the workers of a pool or a cluster must be able to import it.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.faults.space import FaultSpace, Region
from onnxfi.metrics.outcome import CRITICAL, MASKED, NON_CRITICAL, RECORD

HIGH, LOW = (31, 30, 29), (2, 1, 0)


def space(layers: int = 3, elements: int = 40) -> FaultSpace:
    """Weights and activations of a few layers, float32, six bits each."""
    regions = []
    for layer in range(layers):
        regions.append(Region("weights", "weight", layer, f"conv{layer}.weight", elements, "float32", HIGH + LOW))
        regions.append(Region("activations", "input", layer, f"act{layer}", 2 * elements, "float32", HIGH + LOW))
    return FaultSpace(regions)


def uniform(fault: NDArray[Any], image: NDArray[Any]) -> NDArray[np.float64]:
    """A number in [0, 1) for each (fault, image), the same everywhere (SplitMix64's finalizer)."""
    x = fault.astype(np.uint64) * np.uint64(1000003) + image.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray((x ^ (x >> np.uint64(31))) >> np.uint64(11)) / float(1 << 53)


def records(trials: NDArray[Any]) -> NDArray[Any]:
    """Bit 30 is critical in 40 of 100 trials, half of these non-finite; other bits in 1 of 1000."""
    out = np.zeros(len(trials), RECORD)
    out["fault"], out["image"] = trials["fault"], trials["image"]
    u = uniform(trials["fault"], trials["image"])
    rate = np.where(trials["toggle"] == 1 << 30, 0.4, 0.001)
    out["outcome"] = np.where(u < rate, CRITICAL, np.where(u < 0.5, NON_CRITICAL, MASKED))
    out["finite"] = ~(u < rate / 2)
    return out


class FakeEngine:
    """`delay`: seconds a run. `broken`: the fault id that it cannot run. `deadly`: the one that kills the process."""

    def __init__(self, delay: float, broken: int, deadly: int) -> None:
        self.delay, self.broken, self.deadly = delay, broken, deadly
        self.image_inferences = 10  # a golden pass, as it were
        self.equivalent_inferences = 10.0

    def run(self, trials: NDArray[Any]) -> NDArray[Any]:
        if (trials["fault"] == self.broken).any():
            raise RuntimeError("a kernel failed")
        if (trials["fault"] == self.deadly).any():
            os._exit(9)
        time.sleep(self.delay)
        self.image_inferences += len(trials)
        self.equivalent_inferences += 0.5 * len(trials)
        return records(trials)

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class FakeSource:
    delay: float = 0.0
    broken: int = -1
    deadly: int = -1
    touch: Path | None = None  # a folder in which each process that opens an engine leaves a file

    def open(self) -> FakeEngine:
        if self.touch is not None:
            (self.touch / str(os.getpid())).touch()
        return FakeEngine(self.delay, self.broken, self.deadly)
