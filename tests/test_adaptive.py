"""The adaptive plan as arithmetic: what it asks for next, whatever the trials say."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from trials_tables import Table, as_published, made_up

from onnxfi.study.adaptive import START, Design, Tally, half_widths, planning_rates, propose
from onnxfi.study.settings import Precision


def seen(critical: NDArray[np.int64], trials: NDArray[np.int64]) -> Tally:
    return Tally(np.stack([0 * trials, trials - critical, critical, 0 * trials], axis=1))


@pytest.fixture(scope="module")
def table() -> Table:
    return made_up(as_published(), Precision(model=0.003, layer=0.03))


def test_every_stratum_is_looked_at_first(table: Table) -> None:
    first = propose(table.design, Tally.empty(200))
    assert first is not None and (first == START).all()


def test_a_small_stratum_is_seen_whole_and_then_nothing_is_left() -> None:
    design = Design(np.array([3, 20]), np.array([0, 1]), np.array([[0.5, 0.5]]), np.array([1e-9]), 0.99, None)
    tally, rounds = Tally.empty(2), []
    while (allocation := propose(design, tally)) is not None:
        rounds.append(allocation.tolist())
        trials = tally.trials + allocation
        tally = seen(trials // 2, trials)
    assert rounds[0] == [3, 8]
    assert tally.trials.tolist() == [3, 20]
    assert half_widths(design, tally).tolist() == [0.0]  # seen whole, it is known


@pytest.mark.parametrize("budget", [100, 1_600, 2_345])
def test_the_budget_is_spent_to_the_last_trial_and_not_exceeded(budget: int) -> None:
    study = made_up(as_published(), Precision(model=0.001, layer=0.01, budget=budget)).study(0)
    assert study.trials.sum() == budget


def test_a_round_grows_what_is_too_wide_by_a_tenth_to_a_quarter(table: Table) -> None:
    sample, tally, grown = table.sampler(0), Tally.empty(200), []
    while (allocation := propose(table.design, tally)) is not None:
        if tally.trials.any():
            grown.append(allocation.sum() / tally.trials.sum())
        trials = tally.trials + allocation
        tally = seen(sample(trials), trials)
    assert len(grown) > 3
    assert max(grown) <= 0.25 + 200 / 1_600  # 200 strata round up
    assert (half_widths(table.design, tally) <= table.design.goals).all()


def test_the_next_round_is_a_function_of_the_rounds_before(table: Table) -> None:
    tally = table.study(3)
    sharper = Design(**{**table.design.__dict__, "goals": table.design.goals / 2})
    one, other = propose(sharper, tally), propose(sharper, Tally(tally.counts.copy()))
    assert one is not None and other is not None and (one == other).all()


def test_luck_in_one_stratum_moves_its_whole_kin_and_no_other() -> None:
    design = made_up(np.full((20, 10), 0.01), Precision()).design
    trials = np.full(200, 50)
    plain = np.zeros(200, np.int64)
    lucky = plain.copy()
    lucky[0] = 25  # layer 0, first class of bits
    before, after = (planning_rates(design, seen(critical, trials)) for critical in (plain, lucky))
    kin = design.kin == design.kin[0]
    assert (after[kin] == after[0]).all() and (after[kin] > before[kin]).all()
    assert (after[~kin] == before[~kin]).all()
