"""Units share out the draws of a round: each once, in pieces of one layer, whatever was drawn before."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from onnxfi.faults.space import TRIAL, FaultSpace, Region
from onnxfi.study.sampling import Permutation
from onnxfi.study.units import UNIT, Piece, Unit, draw, units

STEADY = settings(derandomize=True, deadline=None)

SPACE = FaultSpace(
    [
        Region("weights", "weight", 0, "w0", 40, "float32", (31, 30, 5, 4)),
        Region("weights", "bias", 0, "b0", 6, "float32", (31, 30, 5, 4)),
        Region("activations", "input", 0, "x", 25, "int8", (7, 1, 0)),
        Region("weights", "weight", 1, "w1", 30, "float32", (31, 30, 5, 4)),
    ]
)
STRATA = SPACE.strata()
PLACES = [(stratum.target, stratum.layer) for stratum in STRATA]
IMAGES, SEED = 7, 20

Counts = NDArray[np.int64]


def counts(most: int) -> st.SearchStrategy[Counts]:
    """Draws of each stratum."""
    return st.lists(st.integers(0, most), min_size=len(STRATA), max_size=len(STRATA)).map(np.array)


def nothing() -> Counts:
    return np.zeros(len(STRATA), np.int64)


def everything(crossed: bool) -> Counts:
    faults = np.array([stratum.population for stratum in STRATA])
    return faults if crossed else faults * IMAGES


def drawn(cut: list[Unit], crossed: bool = False, seed: int = SEED) -> NDArray[np.void]:
    return np.concatenate([np.zeros(0, TRIAL), *(draw(u, SPACE, STRATA, IMAGES, seed, crossed) for u in cut)])


@settings(STEADY, max_examples=50)
@given(allocation=counts(1500), done=counts(3000), images=st.sampled_from([1, 7, 100, 512, 600]), crossed=st.booleans())
def test_every_draw_is_in_exactly_one_unit(allocation: Counts, done: Counts, images: int, crossed: bool) -> None:
    cut = list(units(3, allocation, done, STRATA, images, crossed))
    assert [unit.index for unit in cut] == list(range(len(cut)))
    assert {unit.round for unit in cut} <= {3}
    pieces = [piece for unit in cut for piece in unit.pieces]
    for h in range(len(STRATA)):
        covered = [place for piece in pieces if piece.stratum == h for place in range(piece.start, piece.stop)]
        assert covered == list(range(done[h], done[h] + allocation[h]))
    for unit in cut:
        draws = [piece.stop - piece.start for piece in unit.pieces]
        assert min(draws) > 0, "no empty unit, no empty piece"
        assert len({PLACES[piece.stratum] for piece in unit.pieces}) == 1
        assert sum(draws) * (images if crossed else 1) <= UNIT or (crossed and sum(draws) == 1)


@settings(STEADY, max_examples=50)
@given(allocation=counts(1500))
def test_only_the_last_unit_of_a_layer_is_not_full(allocation: Counts) -> None:
    cut = list(units(0, allocation, nothing(), STRATA, IMAGES))
    sizes: dict[tuple[str, int], list[int]] = {}
    for unit in cut:
        size = sum(piece.stop - piece.start for piece in unit.pieces)
        sizes.setdefault(PLACES[unit.pieces[0].stratum], []).append(size)
    assert all(size == UNIT for own in sizes.values() for size in own[:-1])


def test_a_cut_by_hand() -> None:
    """Strata: (31), (30) and (5, 4) of w0 with b0; (7) and (1, 0) of x; the same three of w1. Layer 0's weights ask for
    600 + 100 + 1 draws, which is 512 and 189; those of layer 1 for 3."""
    assert [stratum.bits for stratum in STRATA] == [(31,), (30,), (5, 4), (7,), (1, 0), (31,), (30,), (5, 4)]
    allocation = np.array([600, 100, 1, 0, 0, 0, 3, 0])
    done = np.array([8, 0, 5, 9, 0, 0, 2, 0])
    assert list(units(2, allocation, done, STRATA, IMAGES)) == [
        Unit(2, 0, (Piece(0, 8, 520),)),
        Unit(2, 1, (Piece(0, 520, 608), Piece(1, 0, 100), Piece(2, 5, 6))),
        Unit(2, 2, (Piece(6, 2, 5),)),
    ]
    assert list(units(2, nothing(), done, STRATA, IMAGES)) == []


@pytest.mark.parametrize(("images", "faults"), [(1, 512), (7, 73), (512, 1), (513, 1), (10_000, 1)])
def test_crossed_units_hold_as_many_faults_as_fit(images: int, faults: int) -> None:
    # 512 // 7 = 73; a fault is never torn apart, however many images there are.
    first = next(units(0, np.full(len(STRATA), 600), nothing(), STRATA, images, crossed=True))
    assert first.pieces == (Piece(0, 0, faults),)


@pytest.mark.parametrize("crossed", [False, True])
def test_all_draws_are_all_trials(crossed: bool) -> None:
    trials = drawn(list(units(0, everything(crossed), nothing(), STRATA, IMAGES, crossed)), crossed)
    pairs = trials["fault"] * np.uint64(IMAGES) + trials["image"]
    assert np.array_equal(np.sort(pairs), np.arange(SPACE.size * IMAGES))
    assert trials.tolist() == SPACE.trials(trials["fault"], trials["image"]).tolist()


@settings(STEADY, max_examples=40)
@given(plan=st.lists(counts(40), min_size=1, max_size=4), crossed=st.booleans())
def test_rounds_draw_what_one_round_would_have_drawn(plan: list[Counts], crossed: bool) -> None:
    """However the draws come in rounds, and wherever a study was resumed, the trials are the same."""
    room, done, rounds = everything(crossed), nothing(), []
    for number, allocation in enumerate(plan):
        allocation = np.minimum(allocation, room - done)
        rounds += list(units(number, allocation, done, STRATA, IMAGES, crossed))
        done = done + allocation
    together = list(units(0, done, nothing(), STRATA, IMAGES, crossed))
    apart, once = drawn(rounds, crossed), drawn(together, crossed)
    assert np.array_equal(np.sort(apart, order=["fault", "image"]), np.sort(once, order=["fault", "image"]))


def test_a_unit_is_drawn_alone_and_piece_after_piece() -> None:
    unit = Unit(1, 4, (Piece(2, 10, 13), Piece(0, 0, 2)))
    alone = drawn([unit])
    parts = drawn([Unit(0, 0, (piece,)) for piece in unit.pieces])
    assert np.array_equal(alone, parts)
    assert np.array_equal(drawn([Unit(0, 0, (Piece(2, 11, 12),))]), alone[1:2])
    assert draw(Unit(0, 0, ()), SPACE, STRATA, IMAGES, SEED).dtype == TRIAL


def test_a_draw_is_the_strata_own_permutation_of_its_pairs() -> None:
    """Draw k of stratum h: value k of the permutation of its (fault, image) pairs, the image running faster."""
    trials = drawn([Unit(0, 0, (Piece(4, 0, 20),))])
    values = Permutation(STRATA[4].population * IMAGES, SEED, 4).at(np.arange(20))
    assert trials["fault"].tolist() == STRATA[4].faults(values // np.uint64(IMAGES)).tolist()
    assert trials["image"].tolist() == (values % np.uint64(IMAGES)).tolist()


def test_a_crossed_draw_is_a_fault_on_every_image() -> None:
    trials = drawn([Unit(0, 0, (Piece(1, 3, 6),))], crossed=True).reshape(3, IMAGES)
    assert (trials["fault"] == trials["fault"][:, :1]).all()
    assert (trials["image"] == np.arange(IMAGES)).all()
    values = Permutation(STRATA[1].population, SEED, 1).at(np.arange(3, 6))
    assert trials["fault"][:, 0].tolist() == STRATA[1].faults(values).tolist()


def test_another_seed_draws_other_trials() -> None:
    unit = Unit(0, 0, tuple(Piece(h, 0, 8) for h in range(3)))
    assert drawn([unit]).tolist() == drawn([unit]).tolist()
    assert drawn([unit]).tolist() != drawn([unit], seed=SEED + 1).tolist()


def test_the_draws_of_version_1_never_change() -> None:
    """Written down when version 1 of the permutation was made: two draws of each stratum, fault and image."""
    unit = Unit(0, 0, tuple(Piece(h, 0, 2) for h in range(len(STRATA))))
    trials = drawn([unit])
    assert list(zip(trials["fault"].tolist(), trials["image"].tolist(), strict=True)) == [
        (4, 4),
        (80, 3),
        (137, 5),
        (145, 1),
        (31, 2),
        (95, 5),
        (193, 1),
        (202, 3),
        (204, 4),
        (251, 6),
        (275, 2),
        (307, 2),
        (280, 1),
        (324, 0),
        (318, 1),
        (358, 5),
    ]
