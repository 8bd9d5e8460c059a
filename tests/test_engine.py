"""The engine against itself: whatever the order, the batch, the memory or the head, a trial has one outcome.

That the outcome is the right one is for test_oracle.py to say.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from corpus import CASES, images

from onnxfi.engine import engine as engine_module
from onnxfi.engine.engine import Engine
from onnxfi.engine.prepare import Settings, look, prepare
from onnxfi.engine.probe import Counted, Fixed, Mixed, Probe, Rows
from onnxfi.engine.session import OutOfMemoryError, Session, resolve_provider
from onnxfi.engine.tail import Tail
from onnxfi.errors import EngineError, ProviderError
from onnxfi.faults.bits import Word
from onnxfi.faults.space import FaultSpace, Region
from onnxfi.graph.network import Network

BITS = tuple(range(31, -1, -1))


def assert_same(records: np.ndarray, wanted: np.ndarray) -> None:
    """Equal records, NaN included."""
    for field in wanted.dtype.names:
        np.testing.assert_array_equal(records[field], wanted[field])


def network_of(name: str, folder: Path) -> Network:
    path = folder / f"{name}.onnx"
    onnx.save(CASES[name].model(), path)
    return Network.load(path)


def weight_regions(network: Network) -> list[Region]:
    return [
        Region("weights", "weight", layer.index, p.tensor, p.elements, p.dtype, BITS)
        for layer, p in network.parameters("weights")
        if p.dtype == "float32"
    ]


@pytest.fixture(scope="module")
def residual(tmp_path_factory: pytest.TempPathFactory) -> tuple[Network, np.ndarray, FaultSpace, Probe]:
    network = network_of("arch_residual", tmp_path_factory.mktemp("model"))
    pictures = images(CASES["arch_residual"], 12, seed=1)
    network, probe = look(network, pictures)
    inputs = [
        Region("activations", "input", layer.index, layer.word, probe.rows(layer.word).size, "float32", BITS)
        for layer in network.layers
    ]
    return network, pictures, FaultSpace([*weight_regions(network), *inputs]), probe


def some_trials(space: FaultSpace, count: int, pictures: int, seed: int = 0) -> np.ndarray:
    """Trials spread over all regions, half of them on the bits that matter (30 and 31)."""
    rng = np.random.default_rng(seed)
    region = rng.integers(0, len(space.regions), count)
    site = np.array([rng.integers(0, space.regions[r].sites) for r in region])
    bit = np.where(rng.random(count) < 0.5, rng.integers(30, 32, count), rng.integers(0, 32, count))
    return space.trials(space.ids(region, site, bit), rng.integers(0, pictures, count))


def opened(residual: tuple[Network, np.ndarray, FaultSpace, Probe], folder: Path, **settings: object) -> Engine:
    network, pictures, space, probe = residual
    folder.mkdir(parents=True, exist_ok=True)
    prepare(network, probe, pictures, space.regions, Settings(**settings), folder)  # type: ignore[arg-type]
    return Engine(folder)


@pytest.mark.parametrize("exact", [True, False])
def test_order_and_batch_do_not_matter(residual, tmp_path: Path, exact: bool) -> None:
    engine = opened(residual, tmp_path / "w", exact=exact)
    trials = some_trials(residual[2], 300, 12)
    together = engine.run(trials)
    order = np.random.default_rng(2).permutation(len(trials))
    assert_same(engine.run(trials[order]), together[order])
    assert_same(np.concatenate([engine.run(trials[i : i + 1]) for i in range(40)]), together[:40])


def test_little_memory_gives_the_same(residual, tmp_path: Path) -> None:
    trials = some_trials(residual[2], 200, 12)
    wide = opened(residual, tmp_path / "wide").run(trials)
    assert_same(opened(residual, tmp_path / "narrow", memory=1).run(trials), wide)


def test_a_run_without_memory_is_tried_with_fewer_rows(residual, tmp_path: Path, monkeypatch) -> None:
    trials = some_trials(residual[2], 200, 12)
    wanted = opened(residual, tmp_path / "a").run(trials)
    run, sizes = Tail._run, []

    def hungry(self: Tail, image: np.ndarray, *rest: object) -> np.ndarray:
        sizes.append(len(image))
        if len(image) > 4:
            raise OutOfMemoryError("no room")
        return run(self, image, *rest)

    engine = opened(residual, tmp_path / "b")
    monkeypatch.setattr(Tail, "_run", hungry)
    assert_same(engine.run(trials), wanted)
    assert max(sizes) > 4


@pytest.mark.parametrize("case", ["arch_residual", "arch_depthwise", "arch_dense", "attention_dynamic", "gemm_scaled"])
def test_the_general_way_agrees_with_every_head(case: str, tmp_path: Path, monkeypatch) -> None:
    network = network_of(case, tmp_path)
    pictures = images(CASES[case], 8, seed=3)
    network, probe = look(network, pictures)
    space = FaultSpace(weight_regions(network))
    prepare(network, probe, pictures, space.regions, Settings(exact=True), tmp_path)
    trials = some_trials(space, 150, 8)
    wanted = Engine(tmp_path).run(trials)

    def no_head(*_: object) -> None:
        raise EngineError("no head")

    monkeypatch.setattr(engine_module, "Head", no_head)
    assert_same(Engine(tmp_path).run(trials), wanted)


def test_a_change_of_nothing_is_masked_and_runs_no_tail(residual, tmp_path: Path) -> None:
    engine = opened(residual, tmp_path)
    trials = some_trials(residual[2], 100, 12)
    trials["toggle"] = 0
    records = engine.run(trials)
    assert set(records["outcome"]) == {0}
    assert len(engine._tails._kept) == 0


def test_fast_and_exact_differ_only_within_rounding(residual, tmp_path: Path) -> None:
    trials = some_trials(residual[2], 2000, 12, seed=5)
    exact = opened(residual, tmp_path / "exact", exact=True).run(trials)
    fast = opened(residual, tmp_path / "fast").run(trials)
    differ = (exact["outcome"] == 2) != (fast["outcome"] == 2)
    assert np.all(np.abs(exact["margin"][differ]) < 1e-4)
    assert differ.mean() < 0.002


def test_a_crash_names_the_place(residual, tmp_path: Path, monkeypatch) -> None:
    engine = opened(residual, tmp_path)
    trials = some_trials(residual[2], 1, 12)
    trials["toggle"], trials["keep"] = 1 << 30, (1 << 32) - 1

    def crash(*_: object) -> None:
        raise EngineError("ONNX Runtime failed")

    monkeypatch.setattr(Session, "run_bound", crash)
    with pytest.raises(EngineError, match=rf"layer '.+', tensor '.+', site {trials['site'][0]}, fault \d+"):
        engine.run(trials)


def test_images_without_a_finite_answer_are_refused(residual, tmp_path: Path) -> None:
    network, pictures, space, probe = residual
    bad = pictures.copy()
    bad[3] = 3e38
    with pytest.raises(EngineError, match=r"non-finite output for image 3 \(1 images in all\)"):
        prepare(network, probe, bad, space.regions, Settings(), tmp_path)


def test_exact_runs_are_cpu_runs(residual, tmp_path: Path) -> None:
    network, pictures, space, probe = residual
    with pytest.raises(EngineError, match="Exact runs are CPU runs"):
        prepare(network, probe, pictures, space.regions, Settings(exact=True, provider="cuda"), tmp_path)


def test_cuda_where_there_is_none() -> None:
    if resolve_provider("auto") == "cuda":
        pytest.skip("this machine has CUDA")
    with pytest.raises(ProviderError, match=r"onnxfi\[cuda\]"):
        resolve_provider("cuda")


def test_a_look_without_room_for_the_weights(tmp_path: Path, monkeypatch) -> None:
    network = network_of("arch_residual", tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(EngineError, match=r"cannot be written to .*gone \(No such file or directory\): make room"):
        look(network)


def test_probe_finds_rows_wherever_they_are(tmp_path: Path) -> None:
    network = network_of("gemm_of_tokens_interleaved", tmp_path)
    _, probe = look(network, images(CASES["gemm_of_tokens_interleaved"], 8, seed=0))
    layouts = {kind.layout.minor for kind in probe.kinds.values() if isinstance(kind, Rows)}
    assert layouts == {True, False}


def test_probe_tells_shapes_from_images(tmp_path: Path) -> None:
    network = network_of("attention_dynamic", tmp_path)
    _, probe = look(network, images(CASES["attention_dynamic"], 8, seed=0))
    kinds = {type(kind) for kind in probe.kinds.values()}
    assert Counted in kinds
    assert Rows in kinds
    assert kinds <= {Counted, Rows, Fixed}


@pytest.mark.parametrize("case", ["rows_centred", "rows_by_position", "integer_dynamic"])
def test_images_that_disturb_each_other_are_refused(case: str, tmp_path: Path) -> None:
    network = network_of(case, tmp_path)
    pictures = images(CASES[case], 8, seed=0)
    freed, probe = look(network, pictures)
    assert any(isinstance(kind, Mixed) for kind in probe.kinds.values())
    regions = [
        Region("weights", "weight", layer.index, p.tensor, p.elements, p.dtype, (Word(p.dtype).width - 1,))
        for layer, p in freed.parameters("weights")
    ]
    with pytest.raises(EngineError, match="image"):
        prepare(freed, probe, pictures, regions, Settings(), tmp_path)


def test_names_in_a_model_are_never_paths(tmp_path: Path) -> None:
    network = network_of("names_paths", tmp_path)
    pictures = images(CASES["names_paths"], 4, seed=0)
    work = tmp_path / "deep" / "work"
    work.mkdir(parents=True)
    before = {path for path in tmp_path.rglob("*") if work not in path.parents}
    network, probe = look(network, pictures)
    space = FaultSpace(weight_regions(network))
    prepare(network, probe, pictures, space.regions, Settings(), work)
    Engine(work).run(some_trials(space, 50, 4))
    assert {path for path in tmp_path.rglob("*") if work not in path.parents} == before
