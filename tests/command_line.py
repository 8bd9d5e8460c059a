"""What the tests of the command line share: the sentence of a refusal."""

from __future__ import annotations

import pytest

from onnxfi.cli.main import run


def error(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one sentence on stderr of a command that is refused."""
    assert run(list(arguments)) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Error: ") and err.endswith((".\n", "?\n")) and err.count("\n") == 1, err
    return err
