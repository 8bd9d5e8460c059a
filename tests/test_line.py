"""The line that shows work going on, where there is no terminal: now and then, and never for what is quick."""

from __future__ import annotations

import pytest

from onnxfi.cli import line


def test_elsewhere_than_on_a_terminal_a_line_comes_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(line.time, "monotonic", lambda: now[0])
    with line.Line() as work:
        for second, told in ((1, "quick"), (3, "first"), (5, "too soon"), (13.5, "second"), (20, "too soon again")):
            now[0] = second
            work.tell(told)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.split("\n") == ["first", "second", ""]
