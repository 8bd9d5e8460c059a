"""Cutting a model: what crosses a cut, and weights that lie in one file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from corpus import CASES, images, save, select
from onnx import TensorProto, numpy_helper

from onnxfi.engine.prepare import look
from onnxfi.engine.session import Session
from onnxfi.graph.cut import activations, crossing, sub_graph
from onnxfi.graph.network import Network
from onnxfi.graph.outside import WEIGHTS_FILE, anchored, externalize, inlined, values

SKIPPING = ["arch_residual", "arch_dense", "attention_dynamic"]


@pytest.mark.parametrize("name", SKIPPING)
def test_what_crosses_is_what_the_piece_takes(name: str, tmp_path: Path) -> None:
    """Told with and without extracting it, from activations and from weights; and the model runs cut there."""
    case = CASES[name]
    network, probe = look(Network.load(save(case, tmp_path)), images(case, 8))
    weights = [parameter.tensor for _, parameter in network.parameters()]
    several = 0
    for source in (*activations(network.model)[:-1], *weights):
        piece = sub_graph(network.model, [source], [network.output], probe.value_type)
        assert crossing(network.model, [source], [network.output]) == piece.crossing
        assert piece.inputs == (source,)
        Session(piece.model.SerializeToString())
        several += len(piece.crossing) > 0
    assert several > 0


def test_weights_lie_outside_and_small_constants_inside(tmp_path: Path) -> None:
    case = CASES["arch_residual"]
    network, fed = Network.load(save(case, tmp_path)), images(case, 8)
    light = externalize(network.model, tmp_path)
    outside = {t.name for t in light.graph.initializer if t.data_location == TensorProto.EXTERNAL}
    assert outside == {t.name for t in network.model.graph.initializer if numpy_helper.to_array(t).nbytes >= 1024}
    assert light.ByteSize() < network.model.ByteSize() - (tmp_path / WEIGHTS_FILE).stat().st_size / 2
    (tmp_path / "light.onnx").write_bytes(light.SerializeToString())
    stored = onnx.load(tmp_path / "light.onnx").graph.initializer
    for there, here in zip(stored, network.model.graph.initializer, strict=True):
        np.testing.assert_array_equal(numpy_helper.to_array(there), numpy_helper.to_array(here))
    answers = [
        Session(source).run({network.input.name: fed})[0]
        for source in (tmp_path / "light.onnx", network.model.SerializeToString())
    ]
    assert answers[0].tobytes() == answers[1].tobytes()


@pytest.mark.parametrize("name", select("qdq", "qlinear", "float16", "float64", "bfloat16", "path"))
def test_weights_outside_are_read_as_they_were(name: str, tmp_path: Path) -> None:
    """Of each type that is stored, and of a size that lies outside."""
    model = Network.load(save(CASES[name], tmp_path)).model
    for tensor in model.graph.initializer:
        if tensor.dims and numpy_helper.to_array(tensor).size:
            wide = np.resize(numpy_helper.to_array(tensor), (1200, *tensor.dims[1:]))
            tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))
    there = anchored(externalize(model, tmp_path), tmp_path)
    again = inlined(there)
    assert any(tensor.data_location == TensorProto.EXTERNAL for tensor in there.graph.initializer)
    for stored, outside, inside in zip(*(m.graph.initializer for m in (model, there, again)), strict=True):
        wanted = numpy_helper.to_array(stored)
        assert values(outside).dtype == wanted.dtype
        assert values(outside).tobytes() == wanted.tobytes()
        assert inside.SerializeToString() == stored.SerializeToString()
