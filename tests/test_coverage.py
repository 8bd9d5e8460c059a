"""Intervals are tested, not believed: of 1,000 studies, how many hold the truth?

Each table knows the outcome, or the rate, of everything that a study may draw. The bound of 98 % for intervals of 99 %
leaves room for the chance in 1,000 studies (its standard deviation is 0.3 %). Run with -s to see the figures.
"""

from __future__ import annotations

import pytest
from trials_tables import Exhaustive, Table, as_published, coverage, made_up, near_both_ends, rare

from onnxfi.study.settings import Precision

TABLES = {
    "exhaustive injection": lambda: Exhaustive().table(Precision(model=0.005, layer=0.02)),
    "near 0 and near 1": lambda: made_up(near_both_ends(), Precision(model=0.005, layer=0.02)),
    "rare": lambda: made_up(rare(), Precision()),
    "as published": lambda: made_up(as_published(), Precision()),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLES)
def test_intervals_hold_the_truth(name: str) -> None:
    table: Table = TABLES[name]()
    found = coverage(table, studies=1_000)
    print(
        f"\n{name}: MVF {table.truth[0]:.4f} held by {found.share[0]:.1%}, each LVF by {found.share[1:].min():.1%};"
        f" {found.trials:,.0f} trials, half-width {found.width:.5f}, {found.width / found.ideal:.2f} times that of the"
        " best allocation of as many trials with all variances known"
    )
    assert (found.share >= 0.98).all()
