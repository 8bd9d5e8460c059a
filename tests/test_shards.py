"""Fixed plans in parts: shards add up to the whole, and a stopped study goes on to the same end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fake_study import told
from fixed_study import KINDS, fixed, rates, run

import onnxfi
from onnxfi.errors import StudyError
from onnxfi.report import tables
from onnxfi.study.identity import Identity
from onnxfi.study.joining import join
from onnxfi.study.journal import Journal
from onnxfi.study.settings import Data, Machine, Plan, Target


@pytest.mark.parametrize("kind", [*KINDS, "exhaustive"])
def test_shards_add_up(kind: str, tmp_path: Path) -> None:
    asked = fixed(kind)
    whole = run(tmp_path / "whole", asked)
    parts = [run(tmp_path / f"part{part}", asked, (part, 3)) for part in (1, 2, 3)]
    assert not any(part.reached for part in parts)
    again = join([tmp_path / f"part{part}" for part in (1, 2, 3)], tmp_path / "merged")
    assert told(tmp_path / "merged") == told(tmp_path / "whole")
    assert again.reached and again.plan == whole.plan
    assert rates(again) == rates(whole) and again.channels == whole.channels
    assert again.about["settings"]["plan"]["shard"] is None


def test_a_missing_shard_is_no_finished_study(tmp_path: Path) -> None:
    asked = fixed("data-aware")
    for part in (1, 3):
        run(tmp_path / f"part{part}", asked, (part, 3))
    assert not join([tmp_path / "part1", tmp_path / "part3"], tmp_path / "merged").reached
    assert run(tmp_path / "merged", asked).reached
    run(tmp_path / "whole", asked)
    assert told(tmp_path / "merged") == told(tmp_path / "whole")


@pytest.mark.parametrize(("kind", "stop"), [("layer", 3), ("data-aware", 1), ("data-aware", 4), ("data-aware", 8)])
def test_stopped_and_resumed(kind: str, stop: int, tmp_path: Path) -> None:
    """After so many reports: before the first unit, in the pilot (six units), and after it."""
    asked = fixed(kind)
    broken = run(tmp_path / "study", asked, stop=stop)
    assert not broken.reached
    assert run(tmp_path / "study", asked).reached
    run(tmp_path / "whole", asked)
    assert told(tmp_path / "study") == told(tmp_path / "whole")


def test_adaptive_studies_are_not_joined(tmp_path: Path) -> None:
    identity = Identity(**{**fixed("layer").identity.__dict__, "plan": {"kind": "adaptive"}})
    Journal.open(tmp_path / "study", identity).close()
    with pytest.raises(StudyError, match="study is an adaptive study, which has no shards"):
        join([tmp_path / "study"], tmp_path / "out")


def test_the_bundled_model_in_shards(tmp_path: Path) -> None:
    """From model to summary, with real outcomes: two shards of a data-aware plan make the whole; p is told."""

    def analyze(folder: str, shard: tuple[int, int] | None = None, kind: Any = "data-aware") -> Any:
        run = onnxfi.analyze(
            data=Data(images=4),
            target=Target(kind="weights", layers=("linear",), bits="29-31"),
            plan=Plan(kind, 0.1, "weights", shard),
            machine=Machine(workers=1),
            out=tmp_path / folder,
        )
        return json.loads(run.summary.to_json())

    whole = analyze("whole")
    assert not analyze("part1", (1, 2))["converged"]
    analyze("part2", (2, 2))
    joined = onnxfi.merge([tmp_path / "part1", tmp_path / "part2"], tmp_path / "merged")
    merged = json.loads(joined.summary.to_json())
    measured = {"seconds", "trials_per_second", "image_inferences", "equivalent_inferences"}
    assert {name: merged[name] for name in merged.keys() - measured} == {
        name: whole[name] for name in whole.keys() - measured
    }
    assert [row["bit"] for row in whole["plan"]["p"]["bits"]] == [31, 30, 29]
    faults = whole["plan"]["faults"]
    assert whole["trials"] == 4 * faults
    text = "\n".join(str(block) for block in tables.study(joined.summary))
    assert f"plan data-aware, {faults} faults on all images, margin 10 % at 99 %, seed 0, complete" in text
    assert "p of bits of weights (float32), by weights: 31: 0.4763; 30: 0.5; 29: 0.2381" in text
    for table in ("layers.csv", "bits.csv", "channels.csv"):
        assert (tmp_path / "merged" / table).read_bytes() == (tmp_path / "whole" / table).read_bytes()
    exact = analyze("exhaustive", kind="exhaustive")
    for row, sampled in zip(exact["bits"], whole["bits"], strict=True):
        assert row["low"] == row["value"] == row["high"]
        assert sampled["low"] <= row["value"] <= sampled["high"]
    assert exact["trials"] == 640 * 3 * 4  # by hand: 10 x 64 weights, three bits, four images
