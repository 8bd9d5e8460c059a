"""Many sites settled by one run: what is called safe is, and nothing is said where the engine does not know."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import trained_net
from numpy.typing import NDArray

from onnxfi.engine.deviation import Deviations
from onnxfi.engine.prepare import prepare
from onnxfi.metrics.outcome import CRITICAL
from onnxfi.study.settings import Data, Machine, Target
from onnxfi.vigor.analysis import put_together
from onnxfi.vigor.candidates import flips
from onnxfi.vigor.order import Order
from onnxfi.vigor.settings import Question
from onnxfi.vigor.together import Settled, settle

IMAGES = 12
FLOAT = Order("float32")
BITS = tuple(range(31, -1, -1))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deviations]:
    folder = tmp_path_factory.mktemp("small")
    model = folder / "small.onnx"
    trained_net.write(model)
    data = Data((trained_net.save_pictures(folder / "images.npz", IMAGES),))
    assembly, _ = put_together(model, Question(Target(activation="input"), data, machine=Machine(workers=1)))
    regions = assembly.targets.space.regions
    (folder / "work").mkdir()
    images = assembly.dataset.images
    prepare(assembly.network, assembly.probe, images, regions, assembly.engine, folder / "work")
    made = Deviations(folder / "work")
    yield made
    made.close()


def region_of(engine: Deviations, tensor: str) -> int:
    return next(i for i, region in enumerate(engine.regions) if region.tensor == tensor)


def settled(engine: Deviations, tensor: str) -> tuple[int, NDArray[np.int64], NDArray[np.int64], Settled]:
    """Every site of a tensor on every image: region, image (P,), site (P,), and what was settled."""
    number = region_of(engine, tensor)
    elements = engine.regions[number].elements
    site, image = np.repeat(np.arange(elements), IMAGES), np.tile(np.arange(IMAGES), elements)
    stored = engine.stored(number, image, site)
    return number, image, site, settle(engine, number, image, site, FLOAT.keys(stored), flips(FLOAT, stored, BITS))


@pytest.mark.parametrize("tensor", ["conv3.weight", "r2"])
def test_what_is_settled_no_fault_breaks(engine: Deviations, tensor: str) -> None:
    number, image, site, found = settled(engine, tensor)
    stored = engine.stored(number, image, site)
    keys = flips(FLOAT, stored, BITS)
    inside = (keys >= found.low[:, None]) & (keys <= found.high[:, None]) & (keys != FLOAT.keys(stored)[:, None])
    assert inside.any(axis=1).mean() > 0.1
    assert inside.sum() > 20 * found.runs
    pair, column = np.nonzero(inside)
    some = np.random.default_rng(0).permutation(len(pair))[:20_000]
    values = FLOAT.values(keys[pair[some], column[some]])
    records = engine.put(number, image[pair[some]], site[pair[some]], values)
    assert (records["outcome"] == CRITICAL).sum() == 0


def test_where_a_channel_can_only_fall_silent_the_top_bit_is_settled_too(engine: Deviations) -> None:
    _, _, _, found = settled(engine, "conv3.weight")
    assert (np.abs(FLOAT.values(found.low)) > 1e30).any()


def test_nothing_is_said_of_weights_that_multiply_negative_words(engine: Deviations) -> None:
    number, image, site, found = settled(engine, "conv1.weight")  # it reads the normalised image
    golden = FLOAT.keys(engine.stored(number, image, site))
    assert np.array_equal(found.low, golden) and np.array_equal(found.high, golden)
    assert found.runs == 0
