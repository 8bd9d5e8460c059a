"""Any layer: the search against injection of the same faults, over ops, dtypes and layouts; and one site explained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import trained_net
from click.testing import CliRunner
from corpus import CASES, images

from onnxfi import api
from onnxfi.cli.main import cli
from onnxfi.engine.engine import Engine
from onnxfi.engine.prepare import prepare
from onnxfi.errors import FaultError, StudyError
from onnxfi.metrics.outcome import CRITICAL
from onnxfi.study.settings import Data, Machine, Target
from onnxfi.vigor.analysis import Analysis, analyze
from onnxfi.vigor.explain import explain
from onnxfi.vigor.settings import Question, Sampling

NAMES = [
    "arch_depthwise",
    "arch_residual",
    "attention_dynamic",
    "conv_transpose",
    "conv_transpose_grouped",
    "gemm_trans_a",
    "matmul_heads",
    "matmul_left",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("target", [Target("weights", parameters="all"), Target("activations"),
                                    Target("activations", "output")], ids=["all", "input", "output"])  # fmt: skip
def test_what_is_decided_is_what_injection_finds(name: str, target: Target, tmp_path: Path) -> None:
    """Every flip of some sites of each layer; untrained nets are less monotone: one fault in a hundred may differ."""
    decided_as_injected(name, target, tmp_path)


DTYPES = {
    "float16_residual": "float16",
    "float64_dense": "float64",
    "weight_bfloat16": "bfloat16",
    "weight_float16": "float16",
    "weight_float64": "float64",
    "weight_int8_axis": "int8",
    "qlinear_uint8": "uint8",
}


@pytest.mark.parametrize("name", DTYPES)
def test_words_of_every_dtype_are_decided_as_injection_finds(name: str, tmp_path: Path) -> None:
    assert DTYPES[name] in decided_as_injected(name, Target("weights"), tmp_path)


ACTIVATIONS = {
    "float16_residual": "float16",
    "float16_tokens": "float16",
    "float64_dense": "float64",
    "qlinear_uint8": "uint8",
}


@pytest.mark.parametrize("kind", ["input", "output"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_of_every_dtype_are_decided_as_injection_finds(name: str, kind: Any, tmp_path: Path) -> None:
    assert ACTIVATIONS[name] in decided_as_injected(name, Target("activations", kind), tmp_path)


@pytest.mark.parametrize("name", ["float16_residual", "float64_dense"])
def test_operands_of_other_floats_are_decided(name: str, tmp_path: Path) -> None:
    """Operands of half and double precision: as many bits a word, rates between 0 and 1."""
    found = vigor_of(name, tmp_path, target=Target("activations", "mac"))
    assert isinstance(found.analysis, Analysis)
    for m in found.analysis.estimates.measured:
        assert m.bits.shape[1] == {"float16": 16, "float64": 64, "float32": 32}[m.region.dtype]
        assert ((m.bits >= 0) & (m.bits <= 1)).all()


def decided_as_injected(name: str, target: Target, tmp_path: Path) -> set[str]:
    """Holds an analysis of the corpus's `name` against injection of the same faults; the dtypes that were searched."""
    model, data = tmp_path / "net.onnx", tmp_path / "images.npy"
    onnx.save(CASES[name].model(), model)
    np.save(data, images(CASES[name], 3, seed=1))
    question = Question(target, Data((data,), scale=1.0), Sampling(channels=0.2), 0.99, Machine(workers=1, exact=True))
    analysis = analyze(model, question)
    space, assembly = analysis.targets.space, analysis.assembly
    prepare(assembly.network, assembly.probe, assembly.dataset.images, space.regions, assembly.engine, tmp_path)
    engine, wrong, wrong_lost, faults = Engine(tmp_path), 0.0, 0.0, 0
    for number, m in enumerate(analysis.estimates.measured):
        parts = np.meshgrid(m.drawn.site, np.array(m.region.bits), np.arange(3), indexing="ij")
        site, bit, image = (part.reshape(-1) for part in parts)
        records = engine.run(space.trials(space.ids(np.full(len(site), number), site, bit), image))
        truth = (records["outcome"] == CRITICAL).reshape(m.bits.shape[0], -1, 3).mean(axis=2)
        wrong += np.abs(m.bits - truth).sum()
        lost = (records["finite"] == 0).reshape(m.bits.shape[0], -1, 3).mean(axis=2)
        wrong_lost += np.abs(m.wild[0] - lost).sum()
        assert (m.wild[0] <= m.bits + 1e-9).all()
        faults += truth.size
    assert wrong <= 0.01 * faults
    assert wrong_lost <= 0.002 * faults
    return {region.dtype for region in space.regions}


def vigor_of(name: str, folder: Path, **asked: Any) -> api.Vulnerability:
    onnx.save(CASES[name].model(), folder / "net.onnx")
    np.save(folder / "images.npy", images(CASES[name], 2, seed=1))
    data = Data((folder / "images.npy",), scale=1.0)
    return api.vigor(folder / "net.onnx", data=data, sampling=Sampling(0.2), machine=Machine(workers=1), **asked)


@pytest.mark.parametrize("name", ["conv_transpose", "matmul_left", "gemm_weight_first", "gemm_trans_a", "weight_norm"])
def test_the_paper_refuses_layers_that_it_does_not_know(name: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="is no sum of products that --paper knows"):
        vigor_of(name, tmp_path, paper=True)


@pytest.mark.parametrize("name", ["weight_float64", "weight_float16", "weight_bfloat16", "weight_int8_axis"])
def test_the_paper_refuses_words_that_are_not_multiplied_as_they_are(name: str, tmp_path: Path) -> None:
    stored = name.split("_")[1]
    with pytest.raises(StudyError, match=rf"stores {stored} and multiplies in float32"):
        vigor_of(name, tmp_path, paper=True)


def test_the_paper_on_half_precision(tmp_path: Path) -> None:
    """float16 throughout: 16 bits a word, a rate of each layer."""
    found = vigor_of("float16_residual", tmp_path, paper=True)
    assert isinstance(found.analysis, Analysis)
    assert {m.bits.shape[1] for m in found.analysis.estimates.measured} == {16}


@pytest.mark.parametrize("name", ["qlinear_uint8", "integer_fixed"])
def test_deepvigor_refuses_integers_by_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"holds u?int\d+: DeepVigor's ranges are of floats"):
        vigor_of(name, tmp_path, method="deepvigor")


@pytest.mark.parametrize("name", ["qdq_int8", "qlinear_uint8", "weight_int8_axis"])
def test_stored_integers_are_searched_as_integers(name: str, tmp_path: Path) -> None:
    model, data = tmp_path / "net.onnx", tmp_path / "images.npy"
    onnx.save(CASES[name].model(), model)
    np.save(data, images(CASES[name], 2, seed=1))
    question = Question(Target("weights"), Data((data,), scale=1.0), Sampling(0.2), 0.99, Machine(workers=1))
    integers = [m for m in analyze(model, question).estimates.measured if "int8" in m.region.dtype]
    assert integers
    for m in integers:
        assert m.bits.shape[1] == 8
        assert m.tried <= m.pairs.size * 8


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    trained_net.write(folder / "small.onnx")
    trained_net.save_pictures(folder / "data.npz", 5)
    return folder


def test_a_site_is_explained(small: Path) -> None:
    found = explain(small / "small.onnx", "conv2.weight[3,0,1,1]", Data((small / "data.npz",)))
    assert (found.layer, found.kind, found.index) == ("conv2", "weight", (3, 0, 1, 1))
    assert found.deviations[0, 0] == pytest.approx(-2 * found.values[0])  # the sign bit
    assert found.map.sum() == pytest.approx(1)
    assert (found.non_finite <= found.critical).all()
    for image in range(5):
        beyond = (found.deviations[image] >= found.upper[image]) | (found.deviations[image] <= found.lower[image])
        assert beyond.sum() <= (found.critical * 5).sum() + 1
    ran = CliRunner().invoke(
        cli, ["explain", "conv2.weight[3,0,1,1]", str(small / "small.onnx"), "--data", str(small / "data.npz")]
    )
    assert "weight of layer conv2; 5 images" in ran.output
    assert "Errors of its flips" in ran.output


def test_a_site_that_is_not_there(small: Path) -> None:
    with pytest.raises(FaultError, match="no tensor"):
        explain(small / "small.onnx", "conv9.weight[0]", Data((small / "data.npz",)))
