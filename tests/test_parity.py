"""The same faults in two files of one network: each trial where it belongs, each rate with its difference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from parity_room import FEW, ONE, furnished

from onnxfi import api
from onnxfi.faults.space import FaultSpace, Region
from onnxfi.metrics.factors import Factors
from onnxfi.metrics.outcome import CRITICAL
from onnxfi.parity.compare import View, side_by_side
from onnxfi.parity.paired import Paired
from onnxfi.parity.run import A, B
from onnxfi.parity.settings import Watch
from onnxfi.study.joining import found
from onnxfi.study.journal import Journal
from onnxfi.study.rates import Rates
from onnxfi.study.settings import Data, Plan, Target


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return furnished(tmp_path_factory.mktemp("parity"))


@pytest.fixture(scope="module")
def both(room: Path) -> api.Parity:
    """Weights and activations of the two, exactly."""
    target, data = Target(kind="both"), Data((room / "x.npz",))
    return api.parity(
        room / "a.onnx", room / "b.onnx", data=data, target=target, precision=FEW, machine=ONE, out=room / "both"
    )


@pytest.fixture(scope="module")
def apart(room: Path) -> api.Parity:
    """The first and the other network, which fail differently."""
    target, data = Target(kind="weights", bits="exponent"), Data((room / "x.npz",))
    return api.parity(
        room / "a.onnx", room / "other.onnx", data=data, target=target, precision=FEW, machine=ONE, out=room / "apart"
    )


def test_twins_fail_alike(both: api.Parity) -> None:
    found = both.found
    assert found["paired"] and found["trials"] >= 1000
    # Numbers near 3e38 add up to infinity in one order and not in another: flattened maps come in two orders.
    assert len(found["disagreements"]) <= 5
    assert all(None in (row["margin_a"], row["margin_b"]) for row in found["disagreements"])
    assert found["left_out"] == [] and found["match"]["unmatched"] == []
    assert set(found["mvf"]) == {"weights", "activations"}
    assert len([row for row in found["layers"] if row["target"] == "weights"]) == 6
    for row in found["layers"]:
        assert row["a"]["value"] == pytest.approx(row["b"]["value"], abs=0.01)
        assert row["difference"]["low"] < 0 < row["difference"]["high"]


def test_a_trial_is_the_same_fault_in_both(room: Path, both: api.Parity) -> None:
    """The slow way: the fault that a journal speaks of is baked into the model's file, which ONNX Runtime then runs."""
    pixels = np.load(room / "x.npz")["images"]
    with Journal.read(room / "both" / A) as one, Journal.read(room / "both" / B) as other:
        targets = [found(journal).targets for journal in (one, other)]
        records = [np.concatenate([r.records for r in journal.results()]) for journal in (one, other)]
    rng, seen = np.random.default_rng(3), 0
    for place in rng.permutation(len(records[0])):
        faulty = []
        for name, side, mine in (("a", targets[0], records[0]), ("b", targets[1], records[1])):
            region, site, bit = (int(part[0]) for part in side.space.locate(mine["fault"][[place]]))
            home = side.space.regions[region]
            if home.target != "weights":
                break
            shape = _shape(room / f"{name}.onnx", home.tensor)
            index = ",".join(str(int(i)) for i in np.unravel_index(site, shape))
            api.inject(room / f"{name}.onnx", [f"{home.tensor}[{index}]:flip@{bit}"], room / "bad.onnx", baked=True)
            image = pixels[[mine["image"][place]]]
            faulty.append(_run(room / "bad.onnx", image if name == "b" else image.transpose(0, 3, 1, 2)))
        if len(faulty) == 2:
            seen += 1
            if np.isfinite(faulty).all():
                assert np.allclose(faulty[0], faulty[1], rtol=1e-4, atol=1e-4 * np.abs(faulty[0]).max())
        if seen == 40:
            return
    raise AssertionError("there were fewer than 40 trials of weights")


def _shape(path: Path, tensor: str) -> tuple[int, ...]:
    from onnxfi.graph.network import Network

    return tuple(Network.load(path).stored(tensor).shape)


def _run(path: Path, image: Any) -> Any:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: image})[0][0]


def test_confusion_counts_the_journals_trials(room: Path, apart: api.Parity) -> None:
    with Journal.read(room / "apart" / A) as one, Journal.read(room / "apart" / B) as other:
        records = [np.concatenate([r.records for r in journal.results()]) for journal in (one, other)]
    table = np.zeros((3, 3), int)
    for mine, there in zip(records[0]["outcome"], records[1]["outcome"], strict=True):
        table[mine, there] += 1
    assert apart.found["confusion"]["weights"] == table.tolist()
    critical = [each["outcome"] == CRITICAL for each in records]
    assert apart.found["only_a"] == int((critical[0] & ~critical[1]).sum())
    assert apart.found["only_a"] + apart.found["only_b"] > 5, "the test needs networks that fail differently"


def test_every_disagreement_is_listed_with_both_margins(apart: api.Parity) -> None:
    rows = apart.found["disagreements"]
    assert len(rows) == apart.found["only_a"] + apart.found["only_b"]
    for row in rows:
        sides = {side: row[f"outcome_{side}"] == "critical" for side in "ab"}
        assert sides["a"] != sides["b"]
        for side, critical in sides.items():
            margin = row[f"margin_{side}"]
            assert margin is None or (margin < 0) == critical or margin == 0
        assert row["clean_a"] >= 0 and row["clean_b"] >= 0


def test_a_paired_difference_is_the_difference_of_the_rates(apart: api.Parity) -> None:
    rows = [*apart.found["layers"], *apart.found["mvf"].values(), *apart.found["population_vf"].values()]
    for row in rows:
        wanted = row["a"]["value"] - row["b"]["value"]
        assert row["difference"]["value"] == pytest.approx(wanted, abs=1e-12)
        assert row["difference"]["low"] <= wanted <= row["difference"]["high"]
    for row in apart.found["channels"]:
        assert row["difference"]["low"] <= row["difference"]["value"] <= row["difference"]["high"]


def test_mirror_goes_on_where_it_was(room: Path, both: api.Parity) -> None:
    """The same call again runs nothing and finds the same."""
    target, data = Target(kind="both"), Data((room / "x.npz",))
    seen = []
    again = api.parity(
        room / "a.onnx", room / "b.onnx", data=data, target=target, precision=FEW, machine=ONE, out=room / "both",
        progress=Watch(studies=lambda snapshot: seen.append(snapshot.progress.run[0])),
    )  # fmt: skip
    assert set(seen) == {0}
    assert again.found == both.found


def test_a_stopped_parity_ends_as_one_that_was_not(room: Path, both: api.Parity, tmp_path: Path) -> None:
    target, data = Target(kind="both"), Data((room / "x.npz",))

    def stop(snapshot: Any) -> None:
        if snapshot.progress.run[0] > 450:
            raise KeyboardInterrupt

    for watch in (*[Watch(studies=stop)] * 4, None):
        try:
            done = api.parity(
                room / "a.onnx", room / "b.onnx", data=data, target=target, precision=FEW, machine=ONE, out=tmp_path,
                progress=watch,
            )  # fmt: skip
        except KeyboardInterrupt:
            continue
    assert done.found["confusion"] == both.found["confusion"]


def test_paired_intervals_cover() -> None:
    """500 made-up pairs of studies: 99 % intervals hold the true difference at least 98 % of the time."""
    regions = [Region("weights", "weight", layer, f"w{layer}", 10_000, "float32", (30,)) for layer in (0, 1)]
    space = FaultSpace(regions)
    strata = space.strata()
    factors = Factors(strata, {"weights": (0, 1)})
    rng = np.random.default_rng(0)
    draws, truth = np.array([150, 400]), np.array([[0.05, 0.02, 0.1, 0.83], [0.0, 0.01, 0.4, 0.59]])
    held = 0
    for _ in range(500):
        confusion = np.zeros((2, 3, 3), np.int64)
        for layer, (n, p) in enumerate(zip(draws, truth, strict=True)):
            only_a, only_b, common, neither = rng.multinomial(n, p)
            confusion[layer, 2, 1], confusion[layer, 1, 2] = only_a, only_b
            confusion[layer, 2, 2], confusion[layer, 1, 1] = common, neither
        views = []
        for axis in (2, 1):
            counts = np.column_stack([confusion.sum(axis=axis), np.zeros(2, np.int64)])
            views.append(View(Rates(strata, draws, counts, 5, False, 0.99), factors, {0: "x", 1: "y"}))
        rows = side_by_side(views[0], views[1], [(0, 0), (1, 1)], Paired(confusion, np.zeros(0)))
        apart = rows.mvf["weights"].difference
        held += apart.low <= float((truth[:, 0] - truth[:, 1]).mean()) <= apart.high
    assert held >= 490


def test_studies_are_compared_by_name_or_by_value(room: Path) -> None:
    data = Data((room / "x.npz",))
    asked: dict[str, Any] = {"data": data, "target": Target(kind="weights"), "precision": FEW, "machine": ONE}
    for name in ("a", "b"):
        api.analyze(room / f"{name}.onnx", out=room / f"study-{name}", **asked)
    api.analyze(room / "a.onnx", out=room / "study-c", plan=Plan(seed=1), **asked)
    same = api.compare_studies(room / "study-a", room / "study-c")
    assert not same.found["paired"] and len(same.found["layers"]) == 6
    models = (room / "a.onnx", room / "b.onnx")
    told = api.compare_studies(room / "study-a", room / "study-b", models=models, out=room / "compared")
    assert len(told.found["layers"]) == 6
    for row in told.found["layers"]:
        assert row["difference"]["low"] <= 0 <= row["difference"]["high"]
    assert (room / "compared" / "layers.csv").is_file()
    mirrored = api.compare_studies(room / "both" / A, room / "both" / B)
    assert mirrored.found["paired"]
