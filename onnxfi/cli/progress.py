"""The line that shows a study at work."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from onnxfi.cli.line import Line

if TYPE_CHECKING:
    from onnxfi.metrics.estimate import Estimate
    from onnxfi.study.conduct import Snapshot
    from onnxfi.study.tensorfi import Drawing

_VAGUE = 0.1  # half-width from which on a rate says nothing


class Progress(Line):
    """Called with a snapshot after each piece of work.

    On ^C it leaves a sentence about how to go on, as the KeyboardInterrupt's own.
    """

    def __init__(self) -> None:
        super().__init__()
        self._folder: Path | None = None
        self._trials = 0
        self._drawing = False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(self._stopped()) from error

    def _stopped(self) -> str:
        if self._folder is None:
            return "Stopped before the first trial."
        if self._drawing:
            return f"Stopped in the trials of TensorFI+; the study in {self._folder} is kept: the same command goes on."
        return f"Stopped after {self._trials:,} trials, kept in {self._folder}: the same command goes on from there."

    def __call__(self, step: Snapshot | Drawing) -> None:
        from onnxfi.study.tensorfi import Drawing

        self._drawing = isinstance(step, Drawing)
        if isinstance(step, Drawing):
            self.tell(drawn(step))
        else:
            self.show(step.folder, step.progress.trials, words(step))

    def show(self, folder: Path, trials: int, told: str) -> None:
        """A line about the study in `folder`, which has done so many trials."""
        self._folder, self._trials = folder, trials
        self.tell(told)


def drawn(drawing: Drawing) -> str:
    """'TensorFI+: 4,800 of 12,000 trials, 40 %, about 21 s left'."""
    share = 100 * drawing.done / max(drawing.trials, 1)
    left = "" if drawing.left is None else f", about {drawing.left:.0f} s left"
    return f"TensorFI+: {drawing.done:,} of {drawing.trials:,} trials, {share:.0f} %{left}"


def words(snapshot: Snapshot) -> str:
    """'12,800 trials, 3,200/s. MVF %: weights 1.41 ±0.21 activations 2.30 ±0.44. LVF ±3.1'."""
    progress = snapshot.progress
    count = f"{progress.trials:,}"
    if snapshot.goal is None:
        count += f" of {progress.planned:,}"
    rates = " ".join(f"{target} {_known(estimate)}" for target, estimate in snapshot.mvf.items())
    return f"{count} trials, {progress.rate:,.0f}/s. MVF %: {rates}. LVF ±{100 * snapshot.widest:.1f}"


def _known(estimate: Estimate) -> str:
    """'1.41 ±0.21'; dots where most of it has not been looked at yet."""
    if estimate.value is None or estimate.half_width > _VAGUE:
        return "..."
    return f"{100 * estimate.value:.2f} ±{100 * estimate.half_width:.2f}"
