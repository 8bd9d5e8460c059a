"""onnxfi protect from end to end, on a small trained network: the plan, the hardened file, and its proof."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import corpus
import numpy as np
import onnx
import onnxruntime as ort
import pytest
import trained_net
from click.testing import CliRunner, Result

from onnxfi.cli.main import cli
from onnxfi.engine.levels import Ratio
from onnxfi.errors import StudyError
from onnxfi.faults.guard import Guard, no_mask
from onnxfi.graph.guards import guard_nodes
from onnxfi.metrics.estimate import Estimate
from onnxfi.protect.ask import Remedy, budget
from onnxfi.protect.options import Option
from onnxfi.protect.plan import choose, with_front
from onnxfi.protect.proof import spread


def protect(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["protect", *arguments], catch_exceptions=False)


@pytest.fixture(scope="module")
def hardened(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, object]]:
    """The trained network, its hardened file, and the object of protect.json."""
    folder = tmp_path_factory.mktemp("protect")
    model = trained_net.write(folder / "small.onnx")
    data = trained_net.save_pictures(folder / "data.npz", 24)
    target = folder / "hardened.onnx"
    ran = protect(
        str(model), "--data", str(data), "--workers", "1", "--trials", "3000", "-o", str(target),
        "--out", str(folder / "out"), "--json",
    )  # fmt: skip
    assert ran.exit_code == 0, ran.output
    found = json.loads(ran.stdout)
    assert json.loads((folder / "out" / "protect.json").read_text()) == found
    return model, target, found


def test_the_same_faults_are_critical_far_less_often(hardened: tuple[Path, Path, dict]) -> None:
    proof = hardened[2]["proof"]
    before, guarded, *_ = proof["weights"]
    assert before["mvf"]["low"] > 0.005
    assert guarded["lower"]["value"] > 3, "a network of 1,142 weights is hurt by flips of signs, too"
    assert guarded["mvf"]["high"] < before["mvf"]["low"]
    assert guarded["mended"] > 10 * guarded["harmed"]
    stored = proof["activations"][1]
    assert stored["lower"]["low"] > 1
    assert stored["harmed"] == 0
    assert proof["direct"]["faults"] == proof["direct"]["agreed"] > 50
    assert proof["operands"]["trials"] > 0


def test_without_faults_nothing_changes(hardened: tuple[Path, Path, dict]) -> None:
    golden = hardened[2]["proof"]["golden"]
    assert golden["identical_checked"] == golden["images"] == 12
    assert golden["same_top1"] == golden["images"]
    assert hardened[2]["proof"]["reference"] is True
    for level in hardened[2]["proof"]["levels"]:
        assert level["same_top1"]
        assert level["difference"] < 1e-5


def test_the_hardened_file_mends_a_flip_in_the_file(hardened: tuple[Path, Path, dict]) -> None:
    """Bit 30 of a stored weight, in both files: the original answers otherwise, the hardened one as if nothing were."""
    x = np.random.default_rng(0).standard_normal((4, 1, 14, 14)).astype(np.float32)

    def answer(path: Path, flip: bool) -> np.ndarray:
        model = onnx.load(path)
        for tensor in model.graph.initializer:
            if tensor.name == "conv2.weight" and flip:
                words = onnx.numpy_helper.to_array(tensor).copy().view(np.uint32)
                words.reshape(-1)[7] ^= np.uint32(1 << 30)
                tensor.CopyFrom(onnx.numpy_helper.from_array(words.view(np.float32), tensor.name))
        return ort.InferenceSession(model.SerializeToString()).run(None, {"input": x})[0]

    model, target, found = hardened
    assert not found["live"]
    assert answer(model, False).tobytes() != answer(model, True).tobytes()
    assert answer(target, False).tobytes() == answer(target, True).tobytes()


def test_the_plan_lists_costs_and_what_is_left(hardened: tuple[Path, Path, dict]) -> None:
    _, target, found = hardened
    rows = [row for row in found["options"] if row["target"] == "weights"]
    assert {row["at"] for row in rows} == {"", "load", "live"}
    named = {row["name"]: row for row in rows if row["at"] != "live"}
    sites = 6 * 9 + 8 * 6 * 9 + 8 * 8 * 9 + 10 * 8
    assert named["parity"]["bytes"] == -(-sites // 8)
    assert named["SECDED"]["bytes"] == sites * 32 // 64  # eight bits for each 64
    assert named["triple bit 30"]["bytes"] == -(-2 * sites // 8)
    assert named["SECDED"]["mvf"]["value"] == 0
    assert named["nothing"]["front"]
    assert [row["chosen"] for row in rows].count(True) == 1
    for row in rows:
        assert row["mvf"]["low"] <= row["mvf"]["value"] <= row["mvf"]["high"]
        assert row["fit"]["population"] == row["vf"]["population"] == sites * 32
    with (target.parent / "out" / "plan.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(found["options"])


def test_files_beside_it(hardened: tuple[Path, Path, dict]) -> None:
    folder = hardened[1].parent / "out"
    page = (folder / "protect.html").read_text()
    assert "Not covered" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    recipe = {row["tensor"]: row for row in json.loads((folder / "recipe.json").read_text())["tensors"]}
    row = recipe["conv3.weight"]
    guard = Guard(
        row["dtype"], tuple(int(m, 16) for m in row["keep"]), tuple(int(m, 16) for m in row["put"]),
        tuple(row["low"]), tuple(row["high"]), row["row"],
    )  # fmt: skip
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(hardened[1]).graph.initializer}
    assert guard.apply(tensors["conv3.weight"]).tobytes() == tensors["conv3.weight"].tobytes()


def test_live_guards_stay_in_the_optimised_graph(tmp_path: Path) -> None:
    model = trained_net.write(tmp_path / "small.onnx")
    data = trained_net.save_pictures(tmp_path / "data.npz", 8)
    ran = protect(
        str(model), "--data", str(data), "--workers", "1", "--trials", "400", "--weights-at", "live",
        "--guards", "mask,check", "-o", str(tmp_path / "live.onnx"), "--out", str(tmp_path / "out"),
    )  # fmt: skip
    assert "at any time" in " ".join(ran.output.split())
    assert max(len(line) for line in ran.stdout.splitlines()[:-1]) <= 80  # the last names a folder
    found = json.loads((tmp_path / "out" / "protect.json").read_text())
    assert found["live"]
    assert all(level["guards"] > 0 for level in found["proof"]["levels"])
    assert guard_nodes(onnx.load(tmp_path / "live.onnx")) == found["nodes"]


@pytest.mark.slow
def test_bounds_from_the_ranges_of_vigor(tmp_path: Path) -> None:
    """By hand, of conv2's input p1: nothing below what was seen, and no deviation that was found critical above it."""
    model = trained_net.write(tmp_path / "small.onnx")
    data = trained_net.save_pictures(tmp_path / "data.npz", 8)
    common = (str(model), "--data", str(data), "--workers", "1")
    kept = tmp_path / "kept"
    vigor = ("--target", "activations", "--activation", "input", "--channel-sampling-ratio", "0.05", "--out", str(kept))
    assert CliRunner().invoke(cli, ["vigor", *common, *vigor], catch_exceptions=False).exit_code == 0
    target = tmp_path / "hardened.onnx"
    clips = ("--guards", "clip", "--trials", "200", "-o", str(target), "--out", str(tmp_path / "out"))
    ran = protect(*common, *clips, "--ranges", str(kept))
    assert ran.exit_code == 0, ran.output
    with (kept / "regions.csv").open() as file:
        number = next(row["number"] for row in csv.DictReader(file) if row["tensor"] == "p1")
    with np.load(kept / "ranges.npz") as ranges:
        above = float(ranges[f"upper_{number}"].min())
    whole = onnx.load(model)
    whole.graph.output.append(onnx.helper.make_tensor_value_info("p1", onnx.TensorProto.FLOAT, None))
    images = np.load(data)["images"]
    seen = ort.InferenceSession(whole.SerializeToString()).run(["p1"], {"input": images})[0]
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(target).graph.initializer}
    name = next(name for name in ("p1/guard/above", "p1/guard/high") if name in stored)
    assert above - 1e-3 <= float(stored[name]) <= max(float(seen.max()), above + float(seen.max())) + 1e-3
    with pytest.raises(StudyError, match="holds no ranges"):
        protect(*common, *clips, "--ranges", str(tmp_path / "nowhere"))


def test_what_cannot_be_helped_is_told_so(tmp_path: Path) -> None:
    case = corpus.CASES["qdq_int8"]
    model = corpus.save(case, tmp_path)
    target = tmp_path / "hardened.onnx"
    ran = protect(
        str(model), "--synthetic", "8", "--workers", "1", "--trials", "200", "-o", str(target),
        "--guards", "mask,check,vote", "--out", str(tmp_path / "out"),
    )  # fmt: skip
    assert ran.exit_code == 0
    assert "Nothing was written" in ran.output
    assert "its words are int8" in ran.output
    assert not target.exists()


def _option(name: str, size: int, time: float | None, left: float, at: str = "load", written: bool = True) -> Option:
    rate = Estimate(left, left / 2, left * 2, 100, 1000)
    guards = {"w": Guard("float32", *no_mask("float32"), (0.0,), (1.0,))} if written and size else {}
    ratio = None if time is None else Ratio(time, time, time, 100)
    return Option("weights", name, at, guards, written, True, size, 0, ratio, rate, rate, rate)


def test_the_front_and_the_choice_under_a_budget() -> None:
    """By hand: b is beaten by a (larger and no better), live is as good as c but slow."""
    rows = [
        _option("nothing", 0, None, 0.02, "", False),
        _option("a", 10, 1.0, 0.001),
        _option("b", 20, 1.0, 0.001),
        _option("c", 30, 1.02, 0.0001),  # noise: guards at load are folded
        _option("live", 60, 1.5, 0.0001, "live"),
        _option("code", 500, None, 0.0, "", False),
    ]
    assert [o.name for o in with_front(rows) if o.front] == ["nothing", "a", "c", "code"]

    def name(remedy: Remedy) -> str | None:
        chosen = choose(rows, (), remedy)[0]
        return None if chosen is None else chosen.name

    assert name(Remedy()) == "c"
    assert name(Remedy(latency=0.6)) == "live"
    assert name(Remedy(at="live")) == "live"
    assert name(Remedy(size=25)) == "a"
    assert name(Remedy(size=5)) is None


def test_budgets_are_read_or_refused() -> None:
    assert budget("3%") == (0.03, None)
    assert budget("4KiB, 1.5%") == (0.015, 4096)
    with pytest.raises(StudyError, match="--budget has '3'"):
        budget("3")
    with pytest.raises(StudyError, match="--guards has 'magic'"):
        Remedy(guards=("magic",))


def test_how_many_times_lower_is_from_the_far_ends() -> None:
    before, after = Estimate(0.02, 0.01, 0.03, 1, 1), Estimate(0.001, 0.0005, 0.002, 1, 1)
    assert spread(before, after) == pytest.approx((20, 5, 60))
    assert spread(before, Estimate(0.0, 0.0, 0.001, 1, 1)) == (np.inf, 10, np.inf)
