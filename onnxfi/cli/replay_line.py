"""The line that shows a replay at work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxfi.cli.progress import Progress

if TYPE_CHECKING:
    from onnxfi.study.replaying import Step


class Replaying(Progress):
    """The line of a replay."""

    def step(self, step: Step) -> None:
        """'1,024,000 of 3,000,000 trials, 1,600/s, 20 min left. Block 7 of 20'."""
        self.show(step.folder, step.done, words(step))


def words(step: Step) -> str:
    """The line for one step."""
    told = f"{step.done:,} of {step.planned:,} trials, {step.rate:,.0f}/s"
    if step.left is not None:
        told += f", {duration(step.left)} left"
    done, blocks = step.blocks
    return told if blocks == 1 else f"{told}. Images: block {min(done + 1, blocks)} of {blocks}"


def duration(seconds: float) -> str:
    """'40 s', '12 min', '3.5 h'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3_600:.1f} h"
