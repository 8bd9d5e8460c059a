"""The line that shows an analysis at work."""

from __future__ import annotations

from onnxfi.cli.line import Line
from onnxfi.report.tables import plain


class Searching(Line):
    """Called with a layer, the pairs of all layers that are decided, and all pairs."""

    def __call__(self, layer: str, done: int, total: int) -> None:
        share = 100 * done / max(total, 1)
        self.tell(f"{plain(layer)}: {done:,} of {total:,} pairs of site and image, {share:.0f} %")
