"""The line that shows a remedy at work."""

from __future__ import annotations

from onnxfi.cli.line import Line


class Guarding(Line):
    """Called with what is being done and how many faults of it are done."""

    def __call__(self, what: str, done: int) -> None:
        self.tell(f"{what}{f': {done:,} faults' if done else ''}")
