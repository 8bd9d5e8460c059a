"""The line that shows an analysis at work, on stderr and on a terminal only."""

from __future__ import annotations

from rich.live import Live
from rich.text import Text

from onnxfi.report.tables import console, plain


class Searching:
    """Called with the layer that comes next, the pairs decided, and all pairs; tidies its line away on leaving."""

    def __init__(self) -> None:
        self._console = console(stderr=True)
        self._live = Live(console=self._console, transient=True, auto_refresh=False)

    def __enter__(self) -> Searching:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def __call__(self, layer: str, done: int, total: int) -> None:
        if self._console.is_terminal:
            line = f"{plain(layer)}: {done:,} of {total:,} pairs of site and image, {100 * done / max(total, 1):.0f} %"
            self._live.update(Text(line, no_wrap=True, overflow="ellipsis"), refresh=True)
