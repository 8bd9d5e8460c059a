"""Real pairs of files: two exporters' ResNet-20 of dnn-benchmarks, and MLPerf Tiny's ResNet-8 in float32 and int8."""

from __future__ import annotations

from pathlib import Path

import published
import pytest

from onnxfi import api
from onnxfi.study.settings import Data, Machine, Precision

pytestmark = pytest.mark.shared
IMAGES = "images/cifar10_test_0000-1999.npz"
FEW = Precision(budget=400)


@pytest.mark.slow
def test_pytorch_against_a_keras_file_of_another_exporter(shared_data: Path, tmp_path: Path) -> None:
    """Its BatchNormalization is folded, its batch fixed to 1, its input NHWC, its names are tf2onnx's."""
    published.export(shared_data, tmp_path / "resnet20.onnx")
    other = shared_data / "onnx" / "dnnbenchmarks_resnet20_keras_tf2onnx.onnx"
    data = Data((shared_data / IMAGES,), images=100, preset="cifar10")
    one = Machine(workers=1)
    run = api.parity(tmp_path / "resnet20.onnx", other, data=data, precision=FEW, machine=one, out=tmp_path / "out")
    pairs = run.found["match"]["pairs"]
    assert len(pairs) == 20 and not run.found["match"]["unmatched"]
    assert len(run.found["match"]["folded_a"]) == 19 and run.found["match"]["folded_b"] == []
    assert max(pair["weights"] for pair in pairs) < 1e-6
    assert run.found["clean"]["agree"] == 100 and run.found["clean"]["difference"] < 1e-4
    assert run.found["paired"] and run.found["agreement"] > 0.999


@pytest.mark.slow
def test_float32_against_int8(shared_data: Path, tmp_path: Path) -> None:
    """A quantised weight is off by half a step of the largest, 1/254 = 0.0039, at most."""
    folder = shared_data / "onnx"
    data = Data((shared_data / IMAGES,), images=50, scale=1.0)
    run = api.parity(
        folder / "mlperftiny_resnet8_float_tf2onnx.onnx",
        folder / "mlperftiny_resnet8_int8_qdq_tf2onnx.onnx",
        data=data,
        data_b=Data((shared_data / IMAGES,), images=50, scale=1.0, mean=(128.0,)),
        precision=FEW,
        machine=Machine(workers=1),
        out=tmp_path,
    )
    pairs = run.found["match"]["pairs"]
    assert len(pairs) == 10 and all(0 < pair["weights"] < 1 / 254 + 1e-6 for pair in pairs)
    assert not run.found["paired"] and "share no bits" in run.found["warnings"][0]
    assert run.found["clean"]["difference"] is None and run.found["clean"]["agree"] >= 48
