"""The line that shows a comparison at work: the fault-free runs, its studies, a list's replay, a search."""

from __future__ import annotations

from pathlib import Path

from onnxfi.cli.progress import Progress
from onnxfi.report.tables import plain


class Watching(Progress):
    """As Progress, and told of lists and searches, too."""

    def clean(self, done: int, total: int) -> None:
        """Images that one model has run without faults, and all there are."""
        self.tell(f"without faults: {done:,} of {total:,} images")

    def listed(self, folder: Path, done: int, total: int, rate: float) -> None:
        """Where a list's replay is kept, its trials done, all there are, and trials a second."""
        left = f", {(total - done) / rate / 60:,.0f} minutes left" if rate else ""
        self.show(folder, done, f"{done:,} of {total:,} trials in each model, {rate:,.0f}/s{left}")

    def searched(self, layer: str, done: int, total: int) -> None:
        """The layer that comes next, pairs decided, and all pairs."""
        self.tell(f"{plain(layer)}: {done:,} of {total:,} pairs of site and image")
