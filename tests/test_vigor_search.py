"""The search over made-up tables of answers: right wherever answers are monotone, few values tried, and audited."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from onnxfi.errors import StudyError
from onnxfi.faults.bits import Word
from onnxfi.graph.channels import Channels
from onnxfi.vigor.candidates import flips, operand_flips
from onnxfi.vigor.order import Order
from onnxfi.vigor.pairs import Try, audit, decide
from onnxfi.vigor.sample import draw
from onnxfi.vigor.search import Answers
from onnxfi.vigor.settings import Sampling

BITS = tuple(range(31, -1, -1))


def blind(critical: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Try:
    """Answers that tell nothing of margins."""

    def attempt(row: np.ndarray, values: np.ndarray) -> Answers:
        return Answers(critical(row, values), np.full(len(row), np.nan))

    return attempt


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "int8", "uint8", "int16", "uint32"])
def test_keys_are_in_the_order_of_values_and_lead_back(dtype: str) -> None:
    word = Word(dtype)
    rng = np.random.default_rng(0)
    words = rng.integers(0, 1 << min(word.width, 62), 2000, dtype=np.uint64).astype(word.unsigned)
    values, order = word.values(words), Order(dtype)
    keys = order.keys(values)
    assert np.array_equal(word.words(np.ascontiguousarray(order.values(keys))), words)
    with np.errstate(invalid="ignore"):
        real = values.astype(np.float64)
    finite = np.isfinite(real)
    assert np.array_equal(order.finite(keys), finite)
    at = np.argsort(keys[finite], kind="stable")
    assert (np.diff(real[finite][at]) >= 0).all()


def test_zeros_flip_as_zeros() -> None:
    """Bits of +0.0: sign gives -0.0, bit 30 gives 2.0, bit 0 the least denormal (IEEE 754)."""
    order = Order("float32")
    made = order.values(flips(order, np.zeros(1, np.float32), (31, 30, 0)))[0]
    assert made[0] == 0
    assert np.signbit(made[0])
    assert made[1] == 2.0
    assert made[2] == np.float32(1e-45)


def test_operands_change_their_neuron_by_error_times_weight() -> None:
    """By hand: bit 23 of 1.0 halves it, of 2.0 gives 1.0's exponent + 1 less: 2 -> 4; deltas -0.5*3 and 2*-1."""
    order = Order("float32")
    x, w = np.array([[1.0, 2.0]], np.float32), np.array([[3.0, -1.0]], np.float32)
    made = order.values(operand_flips(order, x, w, np.array([10.0], np.float32), (23,)))
    assert made.tolist() == [[[8.5], [8.0]]]


def made_up(pairs: int, seed: int) -> tuple[Order, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Random words, their flips, and thresholds to both sides of each; a third of the sides have none."""
    rng, order = np.random.default_rng(seed), Order("float32")
    values = (rng.standard_normal(pairs) * 10.0 ** rng.integers(-3, 3, pairs)).astype(np.float32)
    reach = np.abs(values) * 2.0 ** rng.integers(-3, 140, (2, pairs))
    reach[rng.random((2, pairs)) < 1 / 3] = np.inf
    return order, values, flips(order, values, BITS), values - reach[0], values + reach[1]


def test_every_fault_is_decided_as_if_it_were_run() -> None:
    order, values, keys, low, high = made_up(4000, 1)
    asked = []

    def attempt(row: np.ndarray, changed: np.ndarray) -> np.ndarray:
        asked.append(len(row))
        with np.errstate(invalid="ignore"):
            return (changed < low[row]) | (changed > high[row]) | ~np.isfinite(changed)

    found, critical = decide(order, order.keys(values), keys, blind(attempt))
    real = order.values(keys)
    with np.errstate(invalid="ignore"):
        truth = (real < low[:, None]) | (real > high[:, None]) | ~np.isfinite(real)
    assert np.array_equal(critical, truth)
    assert sum(asked) == found.tried.sum()
    assert found.tried.mean() < 8  # of 32: two sides, each at most 1 + 1 + log2(16)


def test_what_is_settled_is_not_asked() -> None:
    order, values, keys, low, high = made_up(500, 2)
    low, high = np.maximum(low, -1e30), np.minimum(high, 1e30)
    golden = order.keys(values)
    halfway = [order.keys((values + (end - values) / 2).astype(np.float32)) for end in (low, high)]

    def attempt(row: np.ndarray, changed: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return (changed < low[row]) | (changed > high[row]) | ~np.isfinite(changed)

    def beyond(row: np.ndarray, changed: np.ndarray) -> np.ndarray:
        asked = order.keys(changed)
        assert ((asked < halfway[0][row]) | (asked > halfway[1][row])).all()
        return attempt(row, changed)

    _, critical = decide(order, golden, keys, blind(beyond), settled=(halfway[0], halfway[1]))
    assert np.array_equal(critical, decide(order, golden, keys, blind(attempt))[1])


def test_a_safe_farthest_value_proves_nothing_alone() -> None:
    """Flips of 0.75 upwards: bit 30 makes 0.75 * 2^128, the next 1.5 and less. Critical from 1 to 10 only."""
    order, values = Order("float32"), np.array([0.75], np.float32)
    keys = flips(order, values, BITS)
    found, critical = decide(order, order.keys(values), keys, blind(lambda row, x: (x > 1) & (x < 10)))
    real = order.values(keys)
    assert np.array_equal(critical, (real > 1) & (real < 10))
    assert critical.any()
    assert found.most[0] < order.above


def test_infinities_and_nan_are_run_apart() -> None:
    """Bit 30 of 1.5 makes a NaN, of 1.0 an infinity (IEEE 754); neither may drag finite neighbours along."""
    order, values = Order("float32"), np.array([1.5, 1.0, -1.0], np.float32)
    keys = flips(order, values, BITS)
    _, critical = decide(order, order.keys(values), keys, blind(lambda row, x: ~np.isfinite(x)))
    assert np.array_equal(critical, ~np.isfinite(order.values(keys)))
    assert critical.sum() == 3
    _, critical = decide(order, order.keys(values), keys, blind(lambda row, x: np.zeros(len(x), bool)))
    assert not critical.any()


def test_equal_values_are_tried_once() -> None:
    order, golden = Order("float32"), np.zeros(1, np.float32)
    keys = np.full((1, 1000, 1), order.keys(np.ones(1, np.float32))[0])
    found, critical = decide(order, order.keys(golden), keys, blind(lambda row, x: x > 0))
    assert critical.all()
    assert found.tried.tolist() == [1]


def test_integers_have_no_infinities() -> None:
    order, values = Order("int8"), np.array([-128, 127, 0, 5], np.int8)
    keys = flips(order, values, tuple(range(7, -1, -1)))
    real, golden = order.values(keys).astype(int), values.astype(int)
    far = blind(lambda row, x: np.abs(x.astype(int) - golden[row]) > 60)
    _, critical = decide(order, order.keys(values), keys, far)
    assert np.array_equal(critical, np.abs(real - golden[:, None]) > 60)


def test_the_audit_counts_what_the_search_got_wrong() -> None:
    """Critical between 1.6 and 1.8 only: safe values lie beyond, which the search takes for proof of a safe side."""
    order, values = Order("float32"), np.array([1.5], np.float32)
    keys = flips(order, values, BITS)

    def attempt(row: np.ndarray, changed: np.ndarray) -> np.ndarray:
        return (changed > 1.6) & (changed < 1.8)

    golden = order.keys(values)
    _, critical = decide(order, golden, keys, blind(attempt))
    found, truth = audit(order, golden, keys, critical, blind(attempt))
    with np.errstate(invalid="ignore"):
        real = order.values(keys)
        assert np.array_equal(truth, (real > 1.6) & (real < 1.8))
    assert (found.pairs, found.faults) == (1, 32)
    assert found.missed - found.blamed == int(truth.sum()) - int(critical.sum())
    assert found.error == (int(critical.sum()) - int(truth.sum())) / 32


def test_the_audit_of_wide_words() -> None:
    """float64: keys of 1.0 and -1e300 are farther apart than 64 bits hold. Critical below -1e100 only is monotone."""
    order, values = Order("float64"), np.array([1.0, -3.0])
    keys = flips(order, values, tuple(range(63, -1, -1)))
    keys[:, -3:] = order.keys(np.array([-1e300, -1e200, -1e50]))
    golden = order.keys(values)

    def attempt(row: np.ndarray, changed: np.ndarray) -> np.ndarray:
        return changed < -1e100

    _, critical = decide(order, golden, keys, blind(attempt))
    found, _ = audit(order, golden, keys, critical, blind(attempt))
    assert (found.sides, found.broken, found.missed, found.blamed) == (2, 0, 0, 0)


def test_draws_are_channels_and_a_logarithm_of_their_sites() -> None:
    """Eq. 16 of DeepVigor+, rounded up: 10 % of 16 channels is 2, log2 of 144 sites is 8."""
    channels = Channels.along((16, 16, 3, 3), 0)
    drawn = draw(3, channels, 2304, 10, Sampling(channels=0.1, images=4, seed=1))
    assert (len(np.unique(drawn.channel)), len(drawn.site)) == (2, 16)
    assert np.array_equal(drawn.site // 144, drawn.channel)
    assert all(len(set(images)) == 4 for images in drawn.image.tolist())
    assert np.bincount(drawn.image.reshape(-1), minlength=10).max() <= 7  # 64 pairs over 10 images
    again = draw(3, channels, 2304, 10, Sampling(channels=0.1, images=4, seed=1))
    assert np.array_equal(again.site, drawn.site)
    assert not np.array_equal(draw(4, channels, 2304, 10, Sampling(0.1, 4, 1)).site, drawn.site)


def test_a_number_of_sites_may_stand_for_the_logarithm() -> None:
    drawn = draw(0, Channels.along((4, 20), 0), 80, 3, Sampling(channels=0.5, sites=15))
    assert np.bincount(drawn.channel).max() == 15
    assert len(drawn.site) == 30
    assert len(draw(0, Channels.along((4, 20), 0), 80, 3, Sampling(channels=0.5, sites=50)).site) == 40


def test_without_sampling_everything_is_taken() -> None:
    drawn = draw(0, Channels.along((8, 4), 1), 32, 5, Sampling())
    assert sorted(drawn.site.tolist()) == list(range(32))
    assert drawn.all_sites
    assert drawn.all_images
    assert np.array_equal(drawn.site % 4, drawn.channel)


@pytest.mark.parametrize("wrong", [{"channels": 0.0}, {"channels": 1.5}, {"images": 0}, {"seed": -1}, {"sites": 3}])
def test_a_sampling_out_of_range_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(StudyError, match=r"give|needs"):
        Sampling(**wrong)  # type: ignore[arg-type]


def straight(values: np.ndarray, slope: np.ndarray) -> Try:
    """Answers of a network whose margin shrinks in a straight line, `slope` a unit of deviation to either side."""

    def attempt(row: np.ndarray, changed: np.ndarray) -> Answers:
        with np.errstate(all="ignore"):
            room = 1 - slope[row] * np.abs(changed.astype(np.float64) - values[row])
        return Answers(~(room > 0), room)

    return attempt


def test_margins_lead_the_search_to_the_place() -> None:
    """Of 1,000 values a side, halving needs ten steps each; the line leads there in four. Far sides need one."""
    order, rng = Order("float32"), np.random.default_rng(2)
    values = rng.standard_normal(200).astype(np.float32)
    made = (values[:, None] + np.sort(rng.standard_normal((200, 2000)))).astype(np.float32)
    keys, slope = order.keys(made)[..., None], np.where(np.arange(200) < 100, 1.0, 0.01)
    attempt = straight(values, slope)
    found, critical = decide(order, order.keys(values), keys, attempt)
    with np.errstate(all="ignore"):
        truth = slope[:, None] * np.abs(made.astype(np.float64) - values[:, None].astype(np.float64)) >= 1
    assert np.array_equal(critical[..., 0], truth)
    assert found.tried[:100].mean() <= 8
    assert (found.tried[100:] == 2).all()


def test_a_deviation_that_rounding_makes_is_not_run() -> None:
    """Bit 30 of 0 makes 2.0, bit 29 2^-63, the others less (IEEE 754): beside a word of 1 only 2.0 is worth a run."""
    order, values = Order("float32"), np.zeros(1, np.float32)
    keys = flips(order, values, BITS)
    ran = []

    def attempt(row: np.ndarray, changed: np.ndarray) -> Answers:
        ran.extend(changed.tolist())
        return Answers(changed > 1, np.full(len(row), np.nan))

    found, critical = decide(order, order.keys(values), keys, attempt, largest=1.0)
    assert ran == [2.0]
    assert found.tried.tolist() == [1]
    assert critical.sum() == 1


def test_values_are_tried_one_by_one_where_answers_come_and_go() -> None:
    """Critical in two bands of a side, which bounds cannot say; it ends where a small deviation leaves the margin."""
    order, values = Order("float32"), np.array([0.75, 0.0], np.float32)
    keys = flips(order, values, BITS)

    def attempt(row: np.ndarray, changed: np.ndarray) -> Answers:
        wide = np.abs(changed.astype(np.float64) - values[row])
        critical = ((wide > 0.3) & (wide < 0.6)) | (wide > 1e30)
        return Answers(critical, np.where(wide < 0.2, 1.0, 0.1))

    found, critical = decide(order, order.keys(values), keys, attempt, largest=1.0, one_by_one=True)
    wide = np.abs(order.values(keys).astype(np.float64) - values[:, None])
    assert np.array_equal(critical, ((wide > 0.3) & (wide < 0.6)) | (wide > 1e30))
    assert critical[0].any()
    assert found.tried[0] < 16
    upper = order.values(found.upper[:1].astype(order.dtype))[0]
    assert upper == min(v for v, c in zip(order.values(keys[0]), critical[0], strict=True) if c and v > 0.75)
