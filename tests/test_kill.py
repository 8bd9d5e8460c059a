"""kill -9 at any moment: the same command goes on, and ends with the numbers of a study that was never killed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_study import adaptive, study, told

from onnxfi.study.journal import Journal

HERE = Path(__file__).parent
DELAY = 0.03  # seconds a unit


@pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")
@pytest.mark.parametrize(("many", "kills"), [(1, 10), (2, 4)])
def test_killed_at_random_moments_ends_as_unbroken(tmp_path: Path, many: int, kills: int) -> None:
    study(tmp_path / "unbroken", adaptive())
    expected = told(tmp_path / "unbroken")
    folder = tmp_path / "killed"
    moment = random.Random(many)
    before = 0
    for kill in range(kills):
        command = [sys.executable, str(HERE / "fake_study.py"), str(folder), str(DELAY), str(many)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        ) as process:
            assert process.stdout is not None
            # From the first moments of the program, when nothing is there yet, to the middle of any unit.
            for _ in range(0 if kill == 0 else moment.randint(1, 6)):
                process.stdout.readline()
            time.sleep(moment.uniform(0, 0.5 if kill == 0 else 2 * DELAY))
            process.kill()
        if (folder / "journal.sqlite").exists():
            with Journal.read(folder) as journal:
                assert before <= journal.size() < len(expected[1])  # type: ignore[arg-type]
                before = journal.size()
    assert before >= kills  # or the kills came too early to say anything
    study(folder, adaptive())
    assert told(folder) == expected
    assert sorted(path.name for path in folder.iterdir()) == ["journal.lock", "journal.sqlite", "study.json"]
