"""The engine against the oracle, over the whole corpus: the same logits, bit for bit, and so the same outcome.

For each model: sites drawn from every parameter (`--parameters all`) and every activation of each kind, all bits of
them and a few values, on three images.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from corpus import CASES, images, save, select
from oracle import Oracle, changes, is_row

from onnxfi.engine.engine import Engine
from onnxfi.engine.prepare import Settings, look, prepare
from onnxfi.engine.probe import Probe
from onnxfi.errors import EngineError
from onnxfi.faults.bits import Word
from onnxfi.faults.fault import Change
from onnxfi.faults.space import TRIAL, Region
from onnxfi.graph.network import Network
from onnxfi.metrics.outcome import CRITICAL, top1

Array = np.ndarray[Any, Any]
Labelled = tuple[int, str, Change]
IMAGES = 3
# Of the largest golden logit: float32's own step (1e-7) times the sums and the layers that it goes through.
ROUNDING = 1e-4
STUDIED = select(but=("refused", "mixes-rows", "uncuttable"))
# One of each kind: joins, layouts, dtypes, batches, sizes.
MINGLED = (
    *("arch_residual", "arch_dense", "arch_depthwise", "attention_batch_middle", "gemm_of_tokens_interleaved"),
    *("qdq_int8", "float16_residual", "fixed_one_reshape", "fixed_four_unrolled", "matmul_vector", "conv_wide"),
    *("dense_wide", "squeeze_excite", "shared_weight", "weight_int8_axis", "uneven_mish", "uneven_mean_head"),
    *("uneven_batch_norm", "float16_tokens"),
)
# A layer of these ops has products that `mac` can name.
PRODUCTS = ("Conv", "Gemm", "MatMul")


def regions(network: Network, probe: Probe) -> Iterator[Region]:
    """Every parameter, and every activation that holds one row an image, in each kind."""

    def region(target: Any, kind: Any, layer: int, tensor: str, elements: int, dtype: str, operands: int = 1) -> Region:
        return Region(target, kind, layer, tensor, elements, dtype, tuple(reversed(range(Word(dtype).width))), operands)

    for layer, parameter in network.parameters("all"):
        kind = parameter.role if parameter.role != "constant" else "scale"
        yield region("weights", kind, layer.index, parameter.tensor, parameter.elements, parameter.dtype)
    seen = set()
    for layer in network.layers:
        for kind, tensor in (("input", layer.word), ("output", layer.output), ("mac", layer.output)):
            if (kind, tensor) in seen or not is_row(probe, tensor):
                continue
            seen.add((kind, tensor))
            rows = probe.rows(tensor)
            operands = _operands(network, layer) if kind == "mac" else 1
            if operands:
                yield region("activations", kind, layer.index, tensor, rows.size, rows.dtype, operands)


def _operands(network: Network, layer: Any) -> int:
    """Products a neuron of the layer; 0 where `mac` does not apply."""
    weight = next((p for p in layer.parameters if p.role == "weight" and p.node == layer.node), None)
    if layer.op not in PRODUCTS or weight is None or len(weight.shape) < 2 or weight.path or weight.slot != 1:
        return 0
    node = next(n for n in network.model.graph.node if n.name == layer.node)
    if layer.op == "Conv":
        return int(np.prod(weight.shape[1:]))
    if any(a.name == "transA" and a.i for a in node.attribute) or len(weight.shape) > 2:
        return 0
    return int(weight.shape[1 if any(a.name == "transB" and a.i for a in node.attribute) else 0])


def trials(number: int, region: Region, faults: list[Labelled]) -> Array:
    """TRIAL records of one region: each fault on each image, image fastest."""
    made = np.zeros((len(faults), IMAGES), TRIAL)
    made["region"], made["image"] = number, np.arange(IMAGES)
    made["fault"] = np.arange(len(faults))[:, None]
    made["site"] = np.array([site for site, _, _ in faults])[:, None]
    made["keep"] = np.array([change.keep for _, _, change in faults], np.uint64)[:, None]
    made["toggle"] = np.array([change.toggle for _, _, change in faults], np.uint64)[:, None]
    return made.reshape(-1)


class Study:
    """A case's model with its regions, engines (exact and fast) and oracle; faults drawn by the case's name."""

    def __init__(self, name: str, folder: Path):
        case = CASES[name]
        network = Network.load(save(case, folder), output=case.output)
        fed = images(case, max(IMAGES, network.fixed_batch or 0))
        self.network, self.probe = look(network, fed)
        self.regions = list(regions(self.network, self.probe))
        self.oracle = Oracle(self.network, self.probe, fed)
        self._fed, self._folder = fed, folder
        self._rng = np.random.default_rng(crc32(name.encode()))

    def engine(self, exact: bool) -> Engine:
        folder = self._folder / ("exact" if exact else "fast")
        folder.mkdir()
        prepare(self.network, self.probe, self._fed, self.regions, Settings(exact=exact), folder)
        return Engine(folder)

    def draw(self, region: Region, sites: int) -> list[Labelled]:
        """Every change of a few sites: (site, name, change)."""
        drawn = self._rng.choice(region.sites, min(sites, region.sites), replace=False)
        return [(int(site), label, change) for site in drawn for label, change in changes(region.dtype)]


def excused(exact: Array, fast: Array, golden: Array) -> Array:
    """Where the optimised graph may judge otherwise, bool (T,): logits that are nearer to each other than rounding.

    And numbers so near to the largest one that a folded BatchNormalization or a fused Gelu overflows where two steps
    do not, or the other way round. A Clip may hide that from the logits of one of the two: `compare` counts those.
    """
    near = np.abs(exact["margin"]) <= ROUNDING * np.abs(golden.astype(np.float64)).max()
    if golden.dtype.kind != "f":
        return np.asarray(near)
    largest = np.fmax(np.abs(exact["margin"]), np.abs(fast["margin"]))
    return np.asarray(near | ((exact["finite"] != fast["finite"]) & (largest > 1e-4 * np.finfo(golden.dtype).max)))


def compare(name: str, folder: Path, sites: int) -> tuple[int, int]:
    """Engine (exact) against oracle, and fast against exact, on `sites` sites of every tensor: trials, and critical."""
    study = Study(name, folder)
    exact, fast = study.engine(exact=True), study.engine(exact=False)
    golden = study.oracle.golden[:IMAGES]
    assert exact.golden_logits[:IMAGES].tobytes() == golden.tobytes(), "golden logits"
    wrong, far, count, critical, overflows = [], [], 0, 0, 0
    for number, region in enumerate(study.regions):
        faults = study.draw(region, sites)
        asked = trials(number, region, faults)
        wanted = np.concatenate([study.oracle.logits(region, site, change)[:IMAGES] for site, _, change in faults])
        got, ran = exact.logits(asked), exact.run(asked)
        expected = top1(np.tile(golden, (len(faults), 1)), wanted)
        same = np.array([a.tobytes() == b.tobytes() for a, b in zip(got, wanted, strict=True)])
        for field in ("outcome", "finite", "top1", "rank"):
            same &= ran[field] == expected[field]
        where = [(region.kind, region.tensor, *faults[at // IMAGES][:2], at % IMAGES) for at in range(len(asked))]
        wrong += [(*where[at], got[at], wanted[at]) for at in np.flatnonzero(~same)]
        quick = fast.run(asked)
        other = (quick["outcome"] == CRITICAL) != (ran["outcome"] == CRITICAL)
        other &= ~excused(ran, quick, golden)
        hidden = other & (ran["finite"] != quick["finite"])
        overflows += int(hidden.sum())
        other &= ~hidden
        far += [(*where[at], ran[at], quick[at]) for at in np.flatnonzero(other)]
        count, critical = count + len(asked), critical + int((expected["outcome"] == CRITICAL).sum())
    assert overflows <= 1 + count // 1000, f"{overflows} of {count} trials overflow in one mode alone, unseen"
    assert not wrong, f"{len(wrong)} of {count} trials: " + "\n".join(str(entry) for entry in wrong[:10])
    assert not far, f"{len(far)} of {count} trials, fast: " + "\n".join(str(entry) for entry in far[:10])
    return count, critical


@pytest.mark.parametrize("name", STUDIED)
def test_engine_agrees_with_oracle(name: str, tmp_path: Path) -> None:
    count, critical = compare(name, tmp_path, sites=8 if "narrow" in CASES[name].tags else 1)
    assert count > critical > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIED)
def test_engine_agrees_with_oracle_at_length(name: str, tmp_path: Path) -> None:
    compare(name, tmp_path, sites=12)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("name", MINGLED)
def test_order_and_company_of_trials_do_not_matter(name: str, exact: bool, tmp_path: Path) -> None:
    """All regions' trials shuffled and run in uneven pieces: the same records as each region's on their own."""
    study = Study(name, tmp_path)
    engine = study.engine(exact)
    asked = [trials(number, region, study.draw(region, sites=1)) for number, region in enumerate(study.regions)]
    alone = np.concatenate([engine.run(part) for part in asked])
    engine.close()
    order = np.random.default_rng(0).permutation(len(alone))
    together = np.concatenate([engine.run(part) for part in np.split(np.concatenate(asked)[order], [1, 8, 45, 600])])
    assert together.tobytes() == alone[order].tobytes()


@pytest.mark.parametrize("name", STUDIED)
def test_models_that_stand_on_their_own_say_the_same(name: str, tmp_path: Path) -> None:
    """What `onnxfi inject` writes against the oracle's masks: one word of each tensor, two changes of it."""
    study = Study(name, tmp_path)
    for region in study.regions:
        if region.kind == "mac":
            continue
        every = study.draw(region, sites=1)
        for at in (region.bits[0] - 1, len(every) - 1):
            site, label, change = every[at]
            wanted = study.oracle.logits(region, site, change)
            for baked in (False, True) if region.target == "weights" else (False,):
                model = study.oracle.alone(region, site, change, baked)
                got = study.oracle.written(model)
                assert got.tobytes() == wanted.tobytes(), (region.kind, region.tensor, site, label, baked)


@pytest.mark.parametrize("name", select("mixes-rows", "uncuttable"))
def test_rows_that_cannot_be_told_apart_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"^\S.*\.$"):
        Study(name, tmp_path).engine(exact=True)
