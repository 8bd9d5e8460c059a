"""`--paper` against a slow, literal reading of DeepVigor+'s equations, one neuron or filter and one image at a time.

The reference runs the whole network with an Add behind the layer's op, and builds error distributions word by word.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import trained_net
from onnx import TensorProto, helper, numpy_helper

from onnxfi.errors import StudyError
from onnxfi.study.settings import Data, Machine, Target
from onnxfi.vigor.analysis import analyze
from onnxfi.vigor.edm import BINS, EDGES, below, bins, histogram, occurring
from onnxfi.vigor.settings import Question, Sampling

POWERS = [2.0**rho for rho in range(-10, 11)]  # Eq. 11


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    trained_net.write(folder / "small.onnx")
    return folder


def question(folder: Path, images: int, target: Target, sampling: Sampling | None = None) -> Question:
    data = trained_net.save_pictures(folder / f"{images}.npz", images)
    machine = Machine(workers=1, exact=True)
    return Question(target, Data(paths=(data,)), sampling or Sampling(), 0.99, machine, paper=True)


class Reference:
    """The paper, read literally, for one conv layer of the small network."""

    def __init__(self, folder: Path, layer: int, images: np.ndarray) -> None:
        model = onnx.load(folder / "small.onnx")
        stored = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        self.weight, self.images = stored[f"conv{layer}.weight"], images
        source, output = ["input", "p1", "r2"][layer - 1], f"c{layer}"
        bn = next(n for n in model.graph.node if n.name == f"bn{layer}")
        bn.input[0] = "moved"
        at = list(model.graph.node).index(bn)
        model.graph.node.insert(at, helper.make_node("Add", [output, "delta"], ["moved"], name="deviation"))
        model.graph.input.append(helper.make_tensor_value_info("delta", TensorProto.FLOAT, [1, None, None, None]))
        for name in {source, output} - {"input"}:
            model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(model.SerializeToString(), options)
        size = 14 if layer == 1 else 7
        self.zero = np.zeros((1, len(self.weight), size, size), np.float32)
        self.golden = [self.answer(image, self.zero) for image in images]
        sources = [image if layer == 1 else self.session.run([source], self.fed(image, self.zero))[0][0]
                   for image in images]  # fmt: skip
        self.padded = [np.pad(x, ((0, 0), (1, 1), (1, 1))) for x in sources]

    def fed(self, image: np.ndarray, delta: np.ndarray) -> dict[str, np.ndarray]:
        return {"input": image[None], "delta": delta}

    def answer(self, image: np.ndarray, delta: np.ndarray) -> int:
        logits = self.session.run(["logits"], self.fed(image, delta))[0][0]
        return int(logits.argmax()) if np.isfinite(logits).all() else -1

    def neuron(self, channel: int, y: int, x: int) -> tuple[float, int]:
        """VF of one output neuron, and simulations: errors of its operands (Algorithm 1)."""
        place = np.zeros_like(self.zero)
        place[0, channel, y, x] = 1
        errors = []
        for padded in self.padded:
            operands, weights = padded[:, y : y + 3, x : x + 3].reshape(-1), self.weight[channel].reshape(-1)
            errors.append([float(e) * float(w) for o, w in zip(operands, weights, strict=True) for e in self.flips(o)])
        return self.vf(place, errors)

    def filter(self, channel: int) -> tuple[float, int]:
        """VF of one filter, and simulations: errors of all its weights, bits and positions (Eq. 8)."""
        place = np.zeros_like(self.zero)
        place[0, channel] = 1
        errors = []
        with np.errstate(invalid="ignore"):
            for padded in self.padded:
                found = []
                for (c, i, j), w in np.ndenumerate(self.weight[channel]):
                    plane = padded[c, i : i + self.zero.shape[2], j : j + self.zero.shape[3]].astype(np.float64)
                    found += [value for e in self.flips(w) for value in (float(e) * plane).reshape(-1).tolist()]
                errors.append(found)
        return self.vf(place, errors)

    @staticmethod
    def flips(word: np.float32) -> list[np.float32]:
        bits = int(np.float32(word).view(np.uint32))
        with np.errstate(all="ignore"):
            return [np.uint32(bits ^ (1 << b)).view(np.float32) - np.float32(word) for b in range(32)]

    def vf(self, place: np.ndarray, errors: list[list[float]]) -> tuple[float, int]:
        """Mean over images of 1 - (F(delta+) - F(delta-)), Eq. 14."""
        rates, steps = [], []
        for image, golden, found in zip(self.images, self.golden, errors, strict=True):
            values = np.array(found)

            def wrong(delta: float, image: np.ndarray = image, golden: int = golden) -> bool:
                return self.answer(image, (place * np.float32(delta)).astype(np.float32)) != golden

            def some(low: float, high: float, values: np.ndarray = values) -> bool:
                return bool(((values >= low) & (values < high)).any())

            lows = [0.0, *POWERS[:-1]]
            positive = [p for low, p in zip(lows, POWERS, strict=True) if some(low, p)]
            negative = [-p for p, far in zip(POWERS, [*POWERS[1:], np.inf], strict=True) if some(-far, -p)]
            up, runs_up = self.search(positive, 1.0, wrong)
            down, runs_down = self.search(negative, -1.0, wrong)
            rates.append(np.mean(~(values < up)) + np.mean(values < down))
            steps.append((runs_up, runs_down))
        return float(np.mean(rates)), sum(max(runs) for runs in zip(*steps, strict=True))

    @staticmethod
    def search(candidates: list[float], one: float, wrong: object) -> tuple[float, int]:
        """delta to one side, and runs: the value 1 first, then from the middle of the set on, or back."""
        assert callable(wrong)
        runs = 1
        if wrong(one):
            best, rest = one, [c for c in candidates if abs(c) < 1]
        else:
            best, rest = one * POWERS[-1], [c for c in candidates if abs(c) > 1]
        if not rest:
            return best, runs
        at, middle = len(rest) // 2, len(rest) // 2
        runs += 1
        if not wrong(rest[middle]):
            for at in range(middle + 1, len(rest)):
                runs += 1
                if wrong(rest[at]):
                    return rest[at], runs
            return best, runs
        while at > 0:
            runs += 1
            if not wrong(rest[at - 1]):
                break
            at -= 1
        return rest[at], runs


def test_edges_and_bins_are_those_of_the_equations() -> None:
    """Against numpy's searchsorted, which is the definition; powers of two, both tails, zeros and NaN among them."""
    rng = np.random.default_rng(0)
    values = np.concatenate([EDGES, -EDGES, np.nextafter(EDGES, np.inf), np.nextafter(EDGES, -np.inf)])
    wide = rng.standard_normal(5000) * 2.0 ** rng.integers(-40, 130, 5000)
    values = np.concatenate([values, wide, [np.inf, -np.inf, np.nan, 0.0, -0.0, 5e-324]])
    assert np.array_equal(bins(values), np.searchsorted(EDGES, values, side="right"))
    assert BINS == 44


def test_a_map_by_hand() -> None:
    """Errors -3, 0.75, 1, 1 and 5000: below -2 lies one of five; 0.75 stands for 1, both 1 for 2, 5000 for nothing."""
    maps = histogram(np.array([[-3.0, 0.75, 1.0, 1.0, 5000.0]]))
    assert maps.sum() == pytest.approx(1)
    assert below(maps, np.array([list(EDGES).index(-2.0)]))[0] == pytest.approx(0.2)
    assert below(maps, np.array([list(EDGES).index(2.0)]))[0] == pytest.approx(0.8)
    negative, positive = occurring(maps)
    assert [POWERS[i] for i in np.flatnonzero(positive[0])] == [1.0, 2.0]
    assert [POWERS[i] for i in np.flatnonzero(negative[0])] == [2.0]


def check(folder: Path, layer: int, images: int, neurons: int | None) -> None:
    """Every filter of a layer, and `neurons` neurons spread over it (all, without), against the reference."""
    name = f"conv{layer}"
    analysis = analyze(folder / "small.onnx", question(folder, images, Target(activation="mac", layers=(name,))))
    filters, words = analysis.estimates.measured
    reference = Reference(folder, layer, analysis.assembly.dataset.images)
    runs = 0
    for place, channel in enumerate(filters.drawn.site):
        rate, steps = reference.filter(int(channel))
        assert filters.sites[place] == pytest.approx(rate, abs=1e-6)
        runs += steps
    assert filters.tried == runs * images
    shape = reference.zero.shape[1:]
    chosen = np.arange(len(words.drawn.site)) if neurons is None else np.linspace(0, len(words.drawn.site) - 1, neurons)
    for place in chosen.astype(int):
        channel, y, x = np.unravel_index(words.drawn.site[place], shape)
        rate, _ = reference.neuron(int(channel), int(y), int(x))
        assert words.sites[place] == pytest.approx(rate, abs=1e-6)


def test_filters_and_some_neurons_are_the_papers(small: Path) -> None:
    check(small, 3, 2, 25)


@pytest.mark.slow
@pytest.mark.parametrize("layer", [1, 2, 3])
def test_every_filter_and_neuron_is_the_papers(small: Path, layer: int) -> None:
    check(small, layer, 3, None)


def test_sampling_takes_a_share_of_channels_and_a_logarithm_of_neurons(small: Path) -> None:
    """Eq. 16: conv2 has 8 channels of 49 neurons: 25 % are 2, and log2 of 49 rounded up is 6."""
    target = Target(activation="mac", layers=("conv2",))
    analysis = analyze(small / "small.onnx", question(small, 3, target, Sampling(channels=0.25)))
    filters, words = analysis.estimates.measured
    assert len(filters.drawn.site) == 2
    assert len(words.drawn.site) == 12
    mvf = analysis.estimates.estimate(analysis.estimates.factors.mvf("weights"))
    assert mvf is not None
    assert mvf.low < mvf.value < mvf.high


def test_the_paper_knows_one_kind_of_activation(small: Path) -> None:
    with pytest.raises(StudyError, match="--activation mac only"):
        question(small, 2, Target(activation="input"))
