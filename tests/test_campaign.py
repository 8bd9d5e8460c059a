"""The loop of a study, on the fake engine: wherever it stops, it ends with the numbers of a run that did not."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import fake_engine
import numpy as np
import pytest
from fake_study import ADAPTIVE, CROSSED, FACTORS, FIXED, IDENTITY, SPACE, adaptive, fixed, study, told
from numpy.typing import NDArray

from onnxfi.errors import EngineError, StudyError
from onnxfi.study import workers
from onnxfi.study.adaptive import Tally
from onnxfi.study.bench import Context
from onnxfi.study.campaign import campaign
from onnxfi.study.journal import Journal
from onnxfi.study.merge import Merged, merge
from onnxfi.study.result import Cost


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unbroken") / "study"
    study(folder, adaptive())
    return folder


def test_reaches_what_it_was_asked_for_and_says_how_far_it_is(unbroken: Path, tmp_path: Path) -> None:
    seen = study(tmp_path / "study", adaptive())
    assert told(tmp_path / "study") == told(unbroken)
    trials = [progress.trials for progress in seen]
    assert trials[0] == 0 and trials == sorted(trials)
    assert all(progress.trials <= progress.planned for progress in seen)
    last = seen[-1]
    assert last.trials == last.planned == last.run[0]
    assert last.rate == last.run[0] / last.run[1] > 0
    for target in FACTORS.targets:
        estimate = last.rates.estimate(FACTORS.mvf(target))
        assert estimate is not None and estimate.half_width <= 0.02
    # What getting ready cost (5, says fake_study), what opening the engine cost (10), and the trials.
    assert last.cost.image_inferences == 15 + last.trials
    assert last.cost.seconds == pytest.approx(0.5 + last.run[1], abs=0.05)


def test_counts_are_those_of_the_trials(unbroken: Path) -> None:
    with Journal.read(unbroken) as journal:
        results = list(journal.results())
        expected = np.zeros((len(ADAPTIVE.strata), 5), np.int64)
        for result in results:
            records = fake_engine.records(ADAPTIVE.trials(result.unit))
            assert records.tobytes() == result.records.tobytes()
            region, _, bit = SPACE.locate(records["fault"])
            for record, place, position in zip(records, region, bit, strict=True):
                home = SPACE.regions[place]
                (stratum,) = (
                    number
                    for number, stratum in enumerate(ADAPTIVE.strata)
                    if (stratum.target, stratum.layer) == (home.target, home.layer) and position in stratum.bits
                )
                expected[stratum] += [1, *(record["outcome"] == kind for kind in (0, 1, 2)), record["finite"] == 0]
        counts = sum(journal.counts(number, len(expected)) for number in range(len(journal.rounds())))
    assert np.array_equal(counts, expected)
    pairs = np.concatenate([result.records[["fault", "image"]] for result in results])
    assert len(np.unique(pairs)) == len(pairs)  # drawn without replacement, over all rounds


def test_the_same_command_twice_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    first = study(folder, adaptive())
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    again = study(folder, adaptive())
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert sorted(before) == ["journal.lock", "journal.sqlite", "study.json"]
    assert [progress.trials for progress in again] == [first[-1].trials] * 2
    assert again[-1].cost == first[-1].cost
    assert np.array_equal(again[-1].rates.counts, first[-1].rates.counts)


@pytest.mark.parametrize("stop", [0, 1, 5, 6, 7, 20, 33])
def test_stopped_and_resumed_equals_unbroken(unbroken: Path, tmp_path: Path, stop: int) -> None:
    """Whoever takes no more from the generator stops the study, as ^C does."""
    folder = tmp_path / "study"
    context = Context("fake", ADAPTIVE, fake_engine.FakeSource())
    with Journal.open(folder, IDENTITY) as journal, workers.serial(context) as runner:
        progress = campaign(ADAPTIVE, adaptive(), journal, runner, 0.99)
        assert len(list(islice(progress, stop + 1))) == stop + 1
        progress.close()  # type: ignore[attr-defined]
        assert journal.size() == stop
    resumed = study(folder, adaptive())
    assert told(folder) == told(unbroken)
    assert resumed[0].trials == resumed[-1].trials - resumed[-1].run[0]


def test_interrupted_by_a_key_in_the_middle_of_a_unit(
    unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "study"
    runs = iter(range(9))

    def run(self: fake_engine.FakeEngine, trials: fake_engine.NDArray[np.void]) -> fake_engine.NDArray[np.void]:
        if next(runs, None) is None:
            raise KeyboardInterrupt
        return fake_engine.records(trials)

    with monkeypatch.context() as patch:
        patch.setattr(fake_engine.FakeEngine, "run", run)
        with pytest.raises(KeyboardInterrupt):
            study(folder, adaptive())
    with Journal.read(folder) as journal:
        assert journal.size() == 9
    study(folder, adaptive())
    assert told(folder) == told(unbroken)


def test_an_error_keeps_the_units_before_it(unbroken: Path, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    with Journal.read(unbroken) as journal:
        broken = int(list(journal.results())[20].records["fault"][0])
    with pytest.raises(EngineError, match=rf"Fault {broken} "):
        study(folder, adaptive(), broken=broken)
    with Journal.read(folder) as journal:
        assert journal.size() > 0
    study(folder, adaptive())
    assert told(folder) == told(unbroken)


def test_two_workers_equal_one(unbroken: Path, tmp_path: Path) -> None:
    study(tmp_path / "study", adaptive(), workers_=2)
    assert told(tmp_path / "study") == told(unbroken)


def test_begun_by_one_and_finished_by_two(unbroken: Path, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    study(folder, adaptive(budget=400))
    # The budget cut round 2 short; from there on it is another sequence of rounds, but the same for everyone.
    study(folder, adaptive(), workers_=2)
    study(tmp_path / "other", adaptive(budget=400))
    study(tmp_path / "other", adaptive())
    assert told(folder) == told(tmp_path / "other")


def test_a_budget_is_kept_and_may_grow(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    assert study(folder, adaptive(budget=400))[-1].trials == 400
    before = told(folder)
    assert study(folder, adaptive(budget=300))[-1].trials == 400  # what is known stays known
    assert told(folder) == before
    assert study(folder, adaptive(budget=700))[-1].trials == 700
    last = study(folder, adaptive())[-1]
    assert all(last.rates.estimate(FACTORS.mvf(target)).half_width <= 0.02 for target in FACTORS.targets)  # type: ignore[union-attr]


def test_another_precision_goes_on_from_the_same_rounds(unbroken: Path, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    study(folder, adaptive(0.04, 0.12))
    coarse = told(folder)
    study(folder, adaptive())
    fine = told(folder)
    assert fine[0][: len(coarse[0])] == coarse[0]  # type: ignore[index, arg-type]
    assert study(folder, adaptive(0.04, 0.12))[-1].trials == study(folder, adaptive())[-1].trials


def test_a_round_that_is_no_more_needed_is_left(tmp_path: Path) -> None:
    """Killed within a round, then asked for less than the rounds before it have: they answer."""
    folder = tmp_path / "study"
    coarse = study(folder, adaptive(0.04, 0.12))[-1]
    context = Context("fake", ADAPTIVE, fake_engine.FakeSource())
    with Journal.open(folder, IDENTITY) as journal, workers.serial(context) as runner:
        list(islice(campaign(ADAPTIVE, adaptive(), journal, runner, 0.99), 3))
    before = told(folder)
    assert study(folder, adaptive(0.04, 0.12))[-1].trials == coarse.trials
    assert told(folder) == before


def test_shards_merge_to_the_whole(tmp_path: Path) -> None:
    study(tmp_path / "whole", fixed(), CROSSED)
    for part in (1, 2, 3):
        shard = study(tmp_path / f"shard{part}", fixed(), CROSSED, shard=(part, 3))
        assert 0 < shard[-1].trials < shard[-1].planned
    merged = merge([tmp_path / f"shard{part}" for part in (1, 2, 3)], tmp_path / "merged")
    assert told(tmp_path / "merged") == told(tmp_path / "whole")
    assert merged == Merged(units=len(told(tmp_path / "whole")[1]), repeated=0, missing=0)  # type: ignore[arg-type]
    again = study(tmp_path / "merged", fixed(), CROSSED)[-1]
    assert again.run[0] == 0
    whole = study(tmp_path / "whole", fixed(), CROSSED)[-1]
    assert np.array_equal(again.rates.counts, whole.rates.counts)
    # Three engines were opened (10 each) and three runs prepared (5 each) instead of one.
    assert again.cost.image_inferences == whole.cost.image_inferences + 30
    assert merge([tmp_path / "shard1"], tmp_path / "merged").repeated > 0
    assert study(tmp_path / "merged", fixed(), CROSSED)[-1].cost == again.cost


def test_every_shard_runs_the_pilot_whole(tmp_path: Path) -> None:
    """A plan that measures first: what it draws then follows from all counts of round 0."""

    def plan(tally: Tally) -> NDArray[np.int64] | None:
        drawn = tally.trials // CROSSED.images
        if not drawn.any():
            return np.full(len(CROSSED.strata), 4)
        return 3 + tally.critical if (drawn == 4).all() else None

    def run(folder: str, shard: tuple[int, int] | None) -> None:
        context = Context("fake", CROSSED, fake_engine.FakeSource())
        with Journal.open(tmp_path / folder, FIXED) as journal, workers.serial(context) as runner:
            list(campaign(CROSSED, plan, journal, runner, 0.99, shard, pilots=1))

    run("whole", None)
    for part in (1, 2):
        run(f"shard{part}", (part, 2))
    merged = merge([tmp_path / "shard1", tmp_path / "shard2"], tmp_path / "merged")
    assert told(tmp_path / "merged") == told(tmp_path / "whole")
    assert merged.missing == 0
    with Journal.read(tmp_path / "whole") as journal:
        assert merged.repeated == len([result for result in journal.results() if result.unit.round == 0]) > 1


def test_a_gap_is_told_and_the_whole_command_fills_it(tmp_path: Path) -> None:
    study(tmp_path / "whole", fixed(), CROSSED)
    for part in (1, 3):
        study(tmp_path / f"shard{part}", fixed(), CROSSED, shard=(part, 3))
    merged = merge([tmp_path / "shard1", tmp_path / "shard3", tmp_path / "shard1"], tmp_path / "merged")
    with Journal.read(tmp_path / "whole") as journal:
        units = [result.unit for result in journal.results()]
    missing = [unit for unit in units if unit.index % 3 == 1]
    assert merged.missing == sum(piece.stop - piece.start for unit in missing for piece in unit.pieces)
    assert merged.units == len(units) - len(missing)
    assert merged.repeated == len([unit for unit in units if unit.index % 3 == 0])
    study(tmp_path / "merged", fixed(), CROSSED)
    assert told(tmp_path / "merged") == told(tmp_path / "whole")


def test_a_shard_may_go_on_as_another(tmp_path: Path) -> None:
    """Which part is run is how far and how fast, too: one folder may take several."""
    study(tmp_path / "whole", fixed(), CROSSED)
    for part in (2, 1):
        study(tmp_path / "one", fixed(), CROSSED, shard=(part, 2))
    assert told(tmp_path / "one") == told(tmp_path / "whole")


def test_what_does_not_belong_together_is_not_merged(tmp_path: Path) -> None:
    study(tmp_path / "a", fixed(), CROSSED, shard=(1, 2))
    study(tmp_path / "b", adaptive())
    with pytest.raises(StudyError, match=r'different studies: plan\.kind is "fixed" in .*a and "adaptive" in .*b\.'):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    study(tmp_path / "c", fixed(20), CROSSED, shard=(2, 2))
    with pytest.raises(StudyError, match="c planned round 0 otherwise than the folders before it"):
        merge([tmp_path / "a", tmp_path / "c"], tmp_path / "out")
    with Journal.read(tmp_path / "a") as journal:
        result = next(journal.results())
    records = result.records.copy()
    records["top1"][0] += 1
    with Journal.open(tmp_path / "d", FIXED) as journal:
        journal.plan(0, np.full(len(CROSSED.strata), 30))
        journal.add(type(result)(result.unit, records, Cost()))
    with pytest.raises(StudyError, match=r"d and a folder before it differ in unit 0 of round 0"):
        merge([tmp_path / "a", tmp_path / "d"], tmp_path / "out")
    with pytest.raises(StudyError, match="nothing to merge"):
        merge([], tmp_path / "out")


def test_a_journal_that_was_planned_otherwise_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    study(folder, fixed(), CROSSED, shard=(1, 2))
    with Journal.open(folder, FIXED) as journal, journal._database.transaction() as db:
        db.execute("UPDATE units SET unit = 1001 WHERE unit = 2")
        db.execute("UPDATE pieces SET unit = 1001 WHERE unit = 2")
        for table in ("units", "pieces"):
            db.execute(f"UPDATE {table} SET unit = 2 WHERE unit = 4")
    with pytest.raises(StudyError, match="unit 2 of round 0 was planned otherwise"):
        study(folder, fixed(), CROSSED)
