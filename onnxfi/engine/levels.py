"""Two models side by side as ONNX Runtime runs them: at each level of optimisation, and in time."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from onnxfi.engine.session import first_line
from onnxfi.errors import EngineError
from onnxfi.graph.guards import left_in

Array = np.ndarray[Any, Any]
LEVELS = {
    "none": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
DEFAULT = "all"
"""ONNX Runtime's own."""

_LEAST_RUNS, _MOST_RUNS = 25, 400


@dataclass(frozen=True)
class Agreement:
    """How a hardened model answers beside its original at one level of optimisation.

    identical   logits equal bit for bit, on every image
    difference  the largest, relative to the largest logit
    same_top1   of every image
    guards      nodes of guards that the optimiser left
    """

    level: str
    identical: bool
    difference: float
    same_top1: bool
    guards: int


def agreements(
    original: bytes, hardened: bytes, images: Array, output: str, batch: int | None
) -> tuple[Agreement, ...]:
    """Of two whole models on `images` (n, *shape), at every level, `batch` images a run (None: all together).

    Raises EngineError where one of them does not load or run.
    """
    found = []
    with tempfile.TemporaryDirectory(prefix="onnxfi-") as folder:
        path = Path(folder) / "optimised.onnx"
        for level in LEVELS:
            wanted = _logits(_session(original, level), images, output, batch)
            got = _logits(_session(hardened, level, path), images, output, batch)
            scale = float(np.abs(wanted.astype(np.float64)).max()) or 1.0
            off = float(np.abs(got.astype(np.float64) - wanted.astype(np.float64)).max()) / scale
            top1 = bool((got.argmax(axis=1) == wanted.argmax(axis=1)).all())
            found.append(Agreement(level, got.tobytes() == wanted.tobytes(), off, top1, left_in(path)))
    return tuple(found)


@dataclass(frozen=True)
class Ratio:
    """Time of one model over that of another, in runs taken in turn: the median, with its 99 % limits."""

    value: float
    low: float
    high: float
    runs: int


def latency(
    original: bytes, others: Sequence[bytes], images: Array, seconds: float, level: str = DEFAULT
) -> list[Ratio]:
    """Of each of `others` over `original`, for one batch `images`, one thread, CPU time, about `seconds` in all.

    Each turn runs every model once; a ratio is taken within a turn, so that what slows the machine slows both.
    """
    sessions = [_session(model, level) for model in (original, *others)]
    name = sessions[0].get_inputs()[0].name
    times: list[list[int]] = []
    started = time.monotonic()
    for _ in range(3):  # what is allocated at first use
        for session in sessions:
            session.run(None, {name: images})
    while len(times) < _LEAST_RUNS or (time.monotonic() - started < seconds and len(times) < _MOST_RUNS):
        turn = []
        for session in sessions:
            before = time.thread_time_ns()
            session.run(None, {name: images})
            turn.append(time.thread_time_ns() - before)
        times.append(turn)
    table = np.array(times, np.float64)
    return [_median(table[:, i] / np.maximum(table[:, 0], 1.0)) for i in range(1, len(sessions))]


def _median(ratios: Array) -> Ratio:
    """The limits are order statistics: n/2 -+ 2.576 sqrt(n)/2 places (the normal limit of the binomial)."""
    ordered, n = np.sort(ratios), len(ratios)
    reach = 2.576 * np.sqrt(n) / 2
    low, high = int(max(0, np.floor(n / 2 - reach))), int(min(n - 1, np.ceil(n / 2 + reach)))
    return Ratio(float(np.median(ratios)), float(ordered[low]), float(ordered[high]), n)


def _logits(session: ort.InferenceSession, images: Array, output: str, batch: int | None) -> Array:
    name = session.get_inputs()[0].name
    wanted = [output] if output in {o.name for o in session.get_outputs()} else None
    step = batch or len(images)
    usable = len(images) // step * step
    if not usable:
        raise EngineError(f"The model takes {step} images a run and {len(images)} are at hand; give more.")
    parts = [session.run(wanted, {name: images[i : i + step]})[0] for i in range(0, usable, step)]
    return np.concatenate(parts).reshape(usable, -1)


def _session(model: bytes, level: str, optimised: Path | None = None) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = LEVELS[level]
    if optimised is not None:
        options.optimized_model_filepath = str(optimised)
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise EngineError(f"ONNX Runtime cannot load the model at level {level}: {first_line(error)}") from error
