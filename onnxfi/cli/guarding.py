"""The line that shows a remedy at work, on stderr: alive on a terminal, now and then a plain line elsewhere."""

from __future__ import annotations

import time

from rich.live import Live
from rich.text import Text

from onnxfi.report.tables import console

_APART = 10.0  # seconds between two plain lines


class Guarding:
    """Called with what is being done and how many faults of it are done; a context manager that tidies up."""

    def __init__(self) -> None:
        self._console = console(stderr=True)
        self._live = Live(console=self._console, transient=True, auto_refresh=False)
        self._due = time.monotonic() + 2.0

    def __enter__(self) -> Guarding:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def __call__(self, what: str, done: int) -> None:
        line = Text(f"{what}{f': {done:,} faults' if done else ''}", no_wrap=True, overflow="ellipsis")
        if self._console.is_terminal:
            self._live.update(line, refresh=True)
        elif time.monotonic() >= self._due:
            self._due = time.monotonic() + _APART
            self._console.print(line, soft_wrap=True)
