"""The published campaign's own arithmetic: TF32 in the convolutions of its last stage, as its masked counts tell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from published import counts, export
from published_rates import IMAGES
from tf32 import in_tf32, rounded

from onnxfi import Data
from onnxfi.api import faults
from onnxfi.faults.listing import FaultList, read_list
from onnxfi.faults.writing import write_list
from onnxfi.study.replayed import pairs

STAGE = "layer3."  # 64 channels; the convolutions before it have 3 to 32
LOW = range(12)  # bits that do not reach TF32's 10 bits of mantissa, whichever way it rounds


def test_the_graph_rounds_as_tensor_cores_do() -> None:
    rng = np.random.default_rng(0)
    words = rng.integers(0, 1 << 32, 4_096, np.uint32)
    words[:1_024] = words[:1_024] & ~np.uint32(0x1FFF) | 0x1000  # halfway between two numbers of TF32
    words[1_024:1_028] = np.array([0, 1 << 31, 0x7F800000, 0xFF800000])  # zeros and infinities
    x = words.view(np.float32)
    x = x[(x == 0) | ((np.abs(x) > 1e-37) & (np.abs(x) < 3.4e38)) | np.isinf(x)].reshape(1, -1, 1, 1)
    # One group a word, by one: the convolution gives back what it reads.
    kernel = numpy_helper.from_array(np.ones((x.size, 1, 1, 1), np.float32), "w")
    conv = helper.make_node("Conv", ["x", "w"], ["y"], group=x.size)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, x.shape) for name in "xy"]
    graph = helper.make_graph([conv], "one", ends[:1], ends[1:], [kernel])
    model = in_tf32(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), {"w"})
    onnx.checker.check_model(model)
    with np.errstate(invalid="ignore"):  # infinities are split too, and then put back
        got = onnx.reference.ReferenceEvaluator(model).run(None, {"x": x})[0]
    assert np.array_equal(got, rounded(x))


@pytest.mark.shared
@pytest.mark.slow
def test_the_campaign_ran_its_last_stage_in_tf32(shared_data: Path) -> None:
    """Its faults in bits 0 to 11 of these six layers, and nearly none of the others', are masked on all images."""
    listed = read_list(shared_data / "fault_lists/ResNet20_FL.csv").entries
    low = [entry for entry in listed if entry.bit in LOW]
    masked = {
        stage: [counts(e).masked == IMAGES for e in low if e.layer.startswith(STAGE) == stage]
        for stage in (True, False)
    }
    assert len(masked[True]) == 4_721 and all(masked[True])
    assert sum(masked[False]) < 0.1 * len(masked[False])
    above = [counts(e).masked == IMAGES for e in listed if e.bit == LOW.stop and e.layer.startswith(STAGE)]
    assert sum(above) < 0.1 * len(above)  # bit 12 decides which way is nearest


@pytest.mark.shared
@pytest.mark.slow
def test_in_its_own_arithmetic_the_campaign_comes_out(shared_data: Path, tmp_path: Path) -> None:
    """Two of bit 30's faults, in layers before the stage, of which float32 gives 127 and 103 critical images."""
    for name in ("torch", "onnxscript"):
        pytest.importorskip(name, reason="needs the extra [pytorch]")
    export(shared_data, tmp_path / "float32.onnx")
    model = onnx.load(tmp_path / "float32.onnx")
    stage = {t.name for t in model.graph.initializer if t.name.startswith(STAGE) and len(t.dims) == 4}
    assert len(stage) == 6
    onnx.save(in_tf32(model, stage), tmp_path / "tf32.onnx")
    listed = read_list(shared_data / "fault_lists/ResNet20_FL.csv").entries
    parts = tuple(shared_data / f"images/cifar10_test_{part}.npz" for part in ("0000-1999", "2000-9999"))
    borders = [entry for entry in listed if entry.injection in (963, 2919)]
    assert [counts(entry).critical for entry in borders] == [125, 100]
    write_list(FaultList("borders", tuple(borders)), tmp_path / "borders.csv")
    found = faults.run(
        tmp_path / "borders.csv", tmp_path / "tf32.onnx", data=Data(parts), nan_rule="sfi", out=tmp_path / "b"
    )
    for own, said in pairs(found):
        assert replace(counts(own), scores=None) == counts(said)
