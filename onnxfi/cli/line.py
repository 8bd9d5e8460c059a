"""A line that shows work going on, on stderr: alive on a terminal, now and then a plain line elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.live import Live
from rich.text import Text

from onnxfi.report.tables import console

_QUIET, _APART = 2.0, 10.0  # seconds before the first plain line, and between two


class Line:
    """A context manager that tidies its line away."""

    def __init__(self) -> None:
        self._console = console(stderr=True)
        self._live = Live(console=self._console, transient=True, auto_refresh=False)
        self._due = time.monotonic() + _QUIET

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def tell(self, told: str) -> None:
        """Show `told` in the place of what was there; elsewhere than on a terminal if it is time for a line."""
        line = Text(told, no_wrap=True, overflow="ellipsis")
        if self._console.is_terminal:
            self._live.update(line, refresh=True)
        elif time.monotonic() >= self._due:
            self._due = time.monotonic() + _APART
            self._console.print(line, soft_wrap=True)
