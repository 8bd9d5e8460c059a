"""The same faults in two files of one network: each trial where it belongs, each rate with its difference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import twins as t
from click.testing import CliRunner

from onnxfi import api
from onnxfi.api import faults
from onnxfi.cli.main import cli, run
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
from onnxfi.study.settings import Data, Machine, Plan, Precision, Target

W = t.weights()
KERAS = t.Style("kept", True, "matmul")
ONE = Machine(exact=True, workers=1)
FEW = Precision(budget=1000)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files of one network, a third with the same weights and other biases, and images."""
    folder = tmp_path_factory.mktemp("parity")
    t.twin(folder / "a.onnx", W)
    t.twin(folder / "b.onnx", W, KERAS)
    moved = {name: -value for name, value in W.items() if name.endswith(("beta", "bias"))}
    t.twin(folder / "other.onnx", {**W, **moved}, KERAS)
    t.images(folder / "x.npz", 30)
    return folder


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


@pytest.fixture(scope="module")
def listed(room: Path) -> Path:
    """A drawn fault list of the first network."""
    faults.draw(room / "a.onnx", faults.Draw(margin=0.05), out=room / "list.csv")
    return room / "list.csv"


def test_a_list_counts_as_each_model_alone_does(room: Path, listed: Path) -> None:
    """Against `faults run` in the first model, and in the second one too, by the rows' own counts."""
    data = Data((room / "x.npz",))
    done = api.parity(room / "a.onnx", room / "other.onnx", data=data, faults=listed, machine=ONE, out=room / "listed")
    alone = faults.run(listed, room / "a.onnx", data=data, machine=ONE, out=room / "alone")
    assert done.result is not None and done.result.listed is not None
    cells = done.result.listed.cells
    for entry, counts in zip(alone.listed.entries, cells.sum(axis=2), strict=True):
        assert entry.counts is not None
        assert (entry.counts.masked, entry.counts.non_critical, entry.counts.critical) == tuple(counts)
    assert done.found["list"] == {
        "source": "list.csv", "faults": len(cells), "images": 30, "of": 30
    }  # fmt: skip
    assert done.found["only_a"] + done.found["only_b"] == len(done.found["disagreements"]) > 0
    lines = (room / "listed" / "faults.csv").read_text().splitlines()
    assert len(lines) == len(cells) + 1


def test_a_list_goes_on_after_a_stop(room: Path, listed: Path, tmp_path: Path) -> None:
    data = Data((room / "x.npz",))

    def stop(folder: Path, done: int, total: int, rate: float) -> None:
        if done > 3000:
            raise KeyboardInterrupt

    asked: dict[str, Any] = {"data": data, "faults": listed, "machine": ONE, "out": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        api.parity(room / "a.onnx", room / "other.onnx", progress=Watch(lists=stop), **asked)
    done = api.parity(room / "a.onnx", room / "other.onnx", **asked)
    whole = json.loads((room / "listed" / "parity.json").read_text())
    assert done.found == whole


def test_types_that_share_no_bits_are_compared_by_outcome(room: Path) -> None:
    t.twin(room / "half.onnx", W, dtype="float16")
    done = api.parity(
        room / "a.onnx", room / "half.onnx", data=Data((room / "x.npz",)), precision=FEW, machine=ONE, out=room / "half"
    )
    assert not done.found["paired"] and done.found["disagreements"] == []
    assert "they share no bits" in done.found["warnings"][0]
    assert len(done.found["layers"]) == 6
    change = done.found["mvf"]["weights"]["difference"]
    assert change["low"] < change["value"] < change["high"]


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


def test_command_line(room: Path) -> None:
    done = CliRunner().invoke(
        cli,
        ["parity", str(room / "a.onnx"), str(room / "b.onnx"), "--data", str(room / "x.npz"), "--budget", "600",
         "--workers", "1", "--vigor", "0.3", "--site-images", "3", "--out", str(room / "cli")],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "6 of 6 layers with weights matched" in done.output
    assert all(len(line) <= 80 for line in done.output.splitlines())
    assert "DeepVigor+" in done.output
    page = (room / "cli" / "report.html").read_text()
    assert "Where they disagree" in page and "6 of 6 layers with weights matched" in page
    values = json.loads((room / "cli" / "parity.json").read_text())
    assert values["vigor"]["mvf"]["weights"]["a"]["trials"] > 0
    again = CliRunner().invoke(
        cli, ["parity", "--studies", str(room / "cli" / A), str(room / "cli" / B), "--json"], catch_exceptions=False
    )
    assert json.loads(again.output)["paired"]


@pytest.mark.slow
def test_the_bundled_pair(tmp_path: Path) -> None:
    """PyTorch's weights copied to Keras, both exported by our converters: the same words in every layer."""
    done = api.parity(data=Data(images=40), precision=Precision(budget=300), machine=Machine(workers=2), out=tmp_path)
    assert len(done.found["match"]["pairs"]) == 10 and all(row["identical"] for row in done.found["match"]["pairs"])
    assert done.found["clean"]["agree"] == 40 and done.found["clean"]["difference"] < 1e-4
    assert done.found["only_a"] == done.found["only_b"] == 0


def test_a_published_plan_is_repeated_too(room: Path) -> None:
    """n = N / (1 + e^2 (N - 1) / (t^2 p (1 - p))) faults, each on all images, in both."""
    done = api.parity(
        room / "a.onnx", room / "b.onnx", data=Data((room / "x.npz",), images=6), plan=Plan("network", 0.05),
        machine=ONE, out=room / "network",
    )  # fmt: skip
    assert done.found["paired"] and done.found["trials"] % 6 == 0
    assert sum(map(sum, done.found["confusion"]["weights"])) == done.found["trials"] > 3000


def test_noise_is_the_same_for_channels_first_and_last(room: Path) -> None:
    done = api.parity(
        room / "a.onnx", room / "b.onnx", data=Data(synthetic=20), precision=FEW, machine=ONE, out=room / "noise"
    )
    assert done.found["clean"]["difference"] < 1e-4
    assert "synthetic" in done.found["warnings"][-1]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["a.onnx"], 1, "Parity is between two models: give both, or none for the bundled pair."),
        (["a.onnx", "b.onnx"], 1, "No images are given for a.onnx"),
        (["a.onnx", "none.onnx", "--synthetic", "8"], 1, "does not exist"),
        (["a.onnx", "b.onnx", "--synthetic", "8", "--parameters", "all"], 2, "No such option '--parameters'"),
        (["a.onnx", "b.onnx", "--synthetic", "8", "--faults", "no.csv"], 1, "the fault list cannot be read"),
        (["--studies", "here", "there"], 1, "here is not a study"),
        (["--studies", "here"], 2, "requires 2 arguments"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(
    room: Path,
    words: list[str],
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(room)
    assert run(["parity", *words]) == code
    assert said in " ".join(capsys.readouterr().err.split())


def test_images_of_each_side_are_its_own(room: Path) -> None:
    """The second model wants its images doubled, and its first layer halves them: the same function."""
    half = {**W, "first.weight": W["first.weight"] / 2}
    t.twin(room / "halved.onnx", half, KERAS)
    data = Data((room / "x.npz",))
    done = api.parity(
        room / "a.onnx", room / "halved.onnx", data=data, data_b=Data((room / "x.npz",), scale=2.0), machine=ONE,
        precision=FEW, out=room / "own",
    )  # fmt: skip
    assert done.found["clean"]["agree"] == 30 and done.found["clean"]["difference"] < 1e-3
    assert [pair["form"] for pair in done.found["match"]["pairs"]] == ["shape", *["stored"] * 5]
    assert done.found["left_out"][0].endswith("the values differ: only shape and place agree")
