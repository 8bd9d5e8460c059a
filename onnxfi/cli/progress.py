"""The line that shows a study at work, on stderr: alive on a terminal, now and then a plain line elsewhere."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.live import Live
from rich.text import Text

from onnxfi.report.tables import console

if TYPE_CHECKING:
    from onnxfi.metrics.estimate import Estimate
    from onnxfi.study.conduct import Snapshot
    from onnxfi.study.tensorfi import Drawing

_VAGUE = 0.1  # half-width from which on a rate says nothing
_QUIET, _APART = 2.0, 10.0  # seconds before the first plain line, and between two


class Progress:
    """Called with a snapshot after each piece of work; a context manager that tidies its line away.

    On ^C it leaves a sentence about how to go on, as the KeyboardInterrupt's own.
    """

    def __init__(self) -> None:
        self._console = console(stderr=True)
        self._live = Live(console=self._console, transient=True, auto_refresh=False)
        self._due = time.monotonic() + _QUIET
        self._folder: Path | None = None
        self._trials = 0
        self._drawing = False

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()
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
            self._line(drawn(step))
        else:
            self.show(step.folder, step.progress.trials, words(step))

    def show(self, folder: Path, trials: int, told: str) -> None:
        """A line about the study in `folder`, which has done so many trials."""
        self._folder, self._trials = folder, trials
        self._line(told)

    def _line(self, told: str) -> None:
        line = Text(told, no_wrap=True, overflow="ellipsis")
        if self._console.is_terminal:
            self._live.update(line, refresh=True)
        elif self._trials and time.monotonic() >= self._due:
            self._due = time.monotonic() + _APART
            self._console.print(line, soft_wrap=True)


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
