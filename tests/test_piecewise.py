"""A model run in pieces computes what it computes in one run, bit for bit, and holds less."""

from __future__ import annotations

import weakref
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from corpus import CASES, images, save, select
from onnx import helper

from onnxfi.engine import piecewise
from onnxfi.engine.piecewise import every_tensor
from onnxfi.engine.prepare import look
from onnxfi.engine.session import STEP, Session
from onnxfi.errors import EngineError
from onnxfi.graph.cut import activations, with_outputs
from onnxfi.graph.network import Network
from onnxfi.graph.outside import externalize

Array = np.ndarray[Any, Any]


@pytest.mark.parametrize("name", select(but=("refused",)))
def test_a_node_at_a_time_as_all_at_once(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two batches, of two sizes where the file leaves that free; the second is poisoned but for its first image."""
    case = CASES[name]
    network = Network.load(save(case, tmp_path), output=case.output)
    batch, size = network.input.name, network.fixed_batch
    fed = images(case, size or 2 * STEP)
    spoilt = fed[: size or STEP].copy()
    spoilt[1:] = np.nan if fed.dtype.kind == "f" else np.iinfo(fed.dtype).max
    model = externalize(network.model, tmp_path)
    whole = Session(with_outputs(network.model, activations(network.model)).SerializeToString())
    monkeypatch.setattr(piecewise, "_BYTES_A_PIECE", 1)
    seen = []
    for tensor, values in every_tensor(
        model, tmp_path, batch, {"plain": fed, "spoilt": spoilt}, fed[: size or 1], name
    ):
        seen.append(tensor)
        for rows, value in zip((fed, spoilt), values.values(), strict=True):
            wanted = rows if tensor == batch else whole.run({batch: rows}, [tensor])[0]
            assert (value.dtype, value.shape) == (wanted.dtype, wanted.shape)
            assert value.tobytes() == wanted.tobytes(), tensor
    assert seen == [batch, *activations(network.model)]


def chain(folder: Path, length: int) -> Network:
    """A Relu after a Neg, `length` times, on 100 numbers an image; the first Neg is added to the last."""
    nodes, last = [], "x"
    for i in range(length):
        nodes += [helper.make_node("Neg", [last], [f"neg{i}"]), helper.make_node("Relu", [f"neg{i}"], [f"relu{i}"])]
        last = f"relu{i}"
    nodes.append(helper.make_node("Add", ["neg0", last], ["y"]))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "chain", [value("x", 1, ["n", 100])], [value("y", 1, ["n", 100])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    onnx.save(model, folder / "chain.onnx")
    return Network.load(folder / "chain.onnx")


def test_what_no_later_piece_reads_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three tensors of 8 images and 400 bytes each fit a piece. Held at once: those, what they began with, and neg0;
    and the images, by this test."""
    model = chain(tmp_path, 20).model
    fed = np.random.default_rng(0).standard_normal((8, 100)).astype(np.float32)
    monkeypatch.setattr(piecewise, "_BYTES_A_PIECE", 3 * fed.nbytes)
    alive: dict[str, weakref.ref[Array]] = {}
    most = 0
    for name, values in every_tensor(model, tmp_path, "x", {"only": fed}, fed[:1], "the chain"):
        alive[name] = weakref.ref(values["only"])
        del values
        most = max(most, sum(value() is not None for value in alive.values()))
    assert len(alive) == 42
    assert most == 6


def test_the_limit_changes_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES["attention_dynamic"]
    network = Network.load(save(case, tmp_path))
    fed = images(case, 8)
    _, wanted = look(network, fed)
    monkeypatch.setattr(piecewise, "_BYTES_A_PIECE", 5000)
    _, found = look(network, fed)
    assert (found.batch, found.placed) == (wanted.batch, wanted.placed)
    kinds = [{name: (type(kind), asdict(kind)) for name, kind in seen.kinds.items()} for seen in (found, wanted)]
    np.testing.assert_equal(kinds[0], kinds[1])


def test_a_piece_that_does_not_run_names_the_model(tmp_path: Path) -> None:
    network = chain(tmp_path, 1)
    fed = np.zeros((8, 100), np.float64)
    with pytest.raises(EngineError, match=r"ONNX Runtime failed in chain\.onnx"):
        list(every_tensor(network.model, tmp_path, "x", {"only": fed}, fed, "chain.onnx"))
