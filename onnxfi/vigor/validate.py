"""An analysis against real injection into some of its channels: Table III of DeepVigor+, with intervals.

In each channel faults are drawn bit by bit, equally many of each, among all its sites and all images; a channel of few
enough faults is injected whole. The rates of both are means over bits, so they are CVFs of the same fault space.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from onnxfi.engine.deviation import Deviations
from onnxfi.engine.prepare import prepare
from onnxfi.errors import StudyError
from onnxfi.metrics.outcome import CRITICAL
from onnxfi.study.conduct import worker_count
from onnxfi.study.sampling import Permutation
from onnxfi.vigor.analysis import Analysis
from onnxfi.vigor.crew import Crew
from onnxfi.vigor.search import Flags

_DRAWS_A_BIT, _TRIALS_A_JOB, _RESAMPLED = 1024, 8192, 2000
_STREAMS = 1 << 33  # of draws here, beyond those of the analysis


@dataclass(frozen=True)
class Agreement:
    """Of one target, over `channels` that were injected with `trials` trials in all.

    mae       mean absolute error of CVF, as a fraction, and its interval over channels
    relative  mean over layers of the relative error of the mean CVF
    rank      Spearman's rank correlation of CVF, and its interval; None where it does not exist
    constant  mean absolute error of the best constant guess: what an analysis must beat
    """

    target: str
    channels: int
    trials: int
    mae: float
    mae_low: float
    mae_high: float
    relative: float | None
    rank: float | None
    rank_low: float | None
    rank_high: float | None
    constant: float


@dataclass(frozen=True)
class Trials:
    """A job: trials as they are."""

    trials: NDArray[np.void]

    def run(self, engine: Deviations) -> Flags:
        """Which are critical."""
        return np.asarray(engine.run(self.trials)["outcome"] == CRITICAL)


def validate(analysis: Analysis, share: float) -> tuple[Agreement, ...]:
    """Inject into `share` of the channels that the analysis looked at, of each layer.

    Raises StudyError for a share that is none, and EngineError.
    """
    if not 0 < share <= 1:
        raise StudyError(f"--validate is {share}; give a fraction above 0, at most 1.")
    question, targets, assembly = analysis.question, analysis.targets, analysis.assembly
    rows: list[tuple[str, int, float, float, int]] = []
    with tempfile.TemporaryDirectory(prefix="onnxfi-") as folder:
        work, workers = Path(folder), worker_count(question.machine)
        prepare(assembly.network, assembly.probe, assembly.dataset.images, targets.space.regions, assembly.engine, work)
        with Crew[Flags](work, workers) as crew:
            for number, m in enumerate(analysis.estimates.measured):
                channels, found = m.channels()
                count = math.ceil(share * len(channels) - 1e-9)
                order = Permutation(len(channels), question.sampling.seed, _STREAMS * (number + 1))
                for place in np.sort(order.at(np.arange(count))).astype(int):
                    trials = _drawn(analysis, number, int(channels[place]))
                    parts = [Trials(trials[i : i + _TRIALS_A_JOB]) for i in range(0, len(trials), _TRIALS_A_JOB)]
                    critical = np.concatenate(list(crew.results(parts)))
                    rows.append((m.region.target, number, float(found[place]), float(critical.mean()), len(trials)))
    frame = pd.DataFrame(rows, columns=["target", "region", "found", "injected", "trials"])
    return tuple(_agreement(frame[frame.target == target], target) for target in analysis.estimates.factors.targets)


def _drawn(analysis: Analysis, number: int, channel: int) -> NDArray[np.void]:
    """Trials in one channel of the `number`-th region: as many of each bit, all of them where they are few."""
    space, images = analysis.targets.space, len(analysis.assembly.dataset)
    region = space.regions[number]
    sites = np.flatnonzero(analysis.targets.channels[number].of(np.arange(region.sites)) == channel)
    pairs, parts = len(sites) * images, []
    for bit in region.bits:
        stream = _STREAMS * (number + 1) + 64 * channel + bit + 1
        order = Permutation(pairs, analysis.question.sampling.seed, stream)
        site, image = np.divmod(order.at(np.arange(min(_DRAWS_A_BIT, pairs))).astype(np.int64), images)
        whole = np.full(len(site), number), sites[site], np.full(len(site), bit)
        parts.append(space.trials(space.ids(*whole), image))
    trials = np.concatenate(parts)
    return trials[np.argsort(trials["site"], kind="stable")]


def _agreement(frame: pd.DataFrame, target: str) -> Agreement:
    found, injected = frame.found.to_numpy(float), frame.injected.to_numpy(float)
    off = np.abs(found - injected)
    rng = np.random.default_rng(0)
    again = rng.integers(0, len(off), (_RESAMPLED, len(off)))
    mae_low, mae_high = np.quantile(off[again].mean(axis=1), [0.005, 0.995])
    ranks = [rank for pick in again if (rank := rank_correlation(found[pick], injected[pick])) is not None]
    rank_low, rank_high = np.quantile(ranks, [0.005, 0.995]) if ranks else (None, None)
    layers = frame.groupby("region")[["found", "injected"]].mean()
    layers = layers[layers.injected > 0]
    relative = float(((layers.found - layers.injected).abs() / layers.injected).mean()) if len(layers) else None
    return Agreement(
        target,
        len(frame),
        int(frame.trials.sum()),
        float(off.mean()),
        float(mae_low),
        float(mae_high),
        relative,
        rank_correlation(found, injected),
        None if rank_low is None else float(rank_low),
        None if rank_high is None else float(rank_high),
        float(np.abs(injected - np.median(injected)).mean()),
    )


def rank_correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float | None:
    """Spearman's: Pearson's correlation of ranks, ties at their mean; None where one of both is constant."""
    ranks = [pd.Series(values).rank().to_numpy() for values in (a, b)]
    if any(float(rank.std()) == 0 for rank in ranks):
        return None
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
