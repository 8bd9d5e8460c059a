"""The corpus itself is sound: each model is valid ONNX, loads, answers, and its rows keep to themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from corpus import CASES, CLASSES, Case, images, save, select
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException
from oracle import session

from onnxfi.errors import ModelError
from onnxfi.graph.network import Network

Array = np.ndarray[Any, Any]
RUNNABLE = select(but=("two-inputs",))
ROWWISE = select(but=("mixes-rows", "refused"))
# What onnxfi promises to treat; a tag that no case wears any more is a hole.
COVERED = {
    *("conv", "conv-transpose", "gemm", "matmul", "tokens", "left", "depthwise", "grouped", "pool", "pointwise"),
    *("residual", "concat", "gate", "attention", "split", "shared", "two-readers", "flatten", "nhwc", "path", "legacy"),
    *("qdq", "qlinear", "integer", "float16", "bfloat16", "float64", "opset", "names", "architecture"),
    *("several-outputs", "fixed-batch", "stuck-batch", "mixes-rows", "refused", "control-flow", "merged-batch"),
}


def run(running: ort.InferenceSession, fed: Array) -> Array:
    """The first output."""
    name = running.get_inputs()[0].name
    return np.asarray(running.run([running.get_outputs()[0].name], {name: fed})[0])


def poisoned(fed: Array) -> Array:
    """The same images, the first one NaN (the largest number for integers)."""
    changed = fed.copy()
    changed[0] = np.nan if fed.dtype.kind == "f" else np.iinfo(fed.dtype.name).max
    return changed


def own_batch(case: Case) -> int | None:
    """The batch that the file fixes."""
    return case.model().graph.input[0].type.tensor_type.shape.dim[0].dim_value or None


def test_covers_what_the_issue_names() -> None:
    worn = {tag for case in CASES.values() for tag in case.tags}
    assert worn >= COVERED
    assert all(case.about for case in CASES.values())


@pytest.mark.parametrize("name", CASES)
def test_valid_small_and_the_same_each_time(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    onnx.checker.check_model(case.model(), full_check=True)
    first = save(case, tmp_path).read_bytes()
    assert first == save(case, tmp_path).read_bytes()
    assert len(first) < (100_000 if "wide" in case.tags else 25_000)


@pytest.mark.parametrize("name", RUNNABLE)
def test_answers_with_finite_logits(name: str) -> None:
    case = CASES[name]
    n = own_batch(case) or 6
    logits = run(session(case.model()), images(case, n))
    assert logits.shape == (n, CLASSES)
    assert np.isfinite(logits.astype(np.float64)).all()
    if n > 1:
        assert len(np.unique(logits, axis=0)) > 1, "the answer does not depend on the image"


@pytest.mark.parametrize("name", ROWWISE)
def test_rows_keep_to_themselves(name: str) -> None:
    """The same bits for an image in other company and beside a poisoned one."""
    case = CASES[name]
    running = session(case.model())
    fixed = own_batch(case)
    part = 4 if "four" in case.tags else 2
    fed = images(case, fixed or 8)
    together = run(running, fed)
    assert run(running, poisoned(fed))[1:].tobytes() == together[1:].tobytes()
    if "placed" in case.tags:
        assert np.roll(run(running, np.roll(fed, 4, 0)), -4, 0).tobytes() == together.tobytes()
    else:
        assert run(running, fed[::-1])[::-1].tobytes() == together.tobytes()
    if fixed is None:
        assert np.concatenate([run(running, fed[:part]), run(running, fed[part:])]).tobytes() == together.tobytes()


@pytest.mark.parametrize("name", select("mixes-rows"))
def test_rows_that_disturb_each_other_do(name: str) -> None:
    case = CASES[name]
    running = session(case.model())
    fed = images(case, own_batch(case) or 8)
    together = run(running, fed)
    moved = run(running, fed[::-1])[::-1].tobytes() != together.tobytes()
    assert moved or run(running, poisoned(fed))[1:].tobytes() != together[1:].tobytes()


@pytest.mark.parametrize("name", select("narrow"))
def test_a_narrow_product_depends_on_the_size_of_the_batch(name: str) -> None:
    """Measured, ONNX Runtime 1.31: with one output and no prepacking, the last rows % 4 are summed in another order."""
    case = CASES[name]
    running = session(case.model())
    fed = images(case, 8)
    assert run(running, fed[:6]).tobytes() != run(running, fed)[:6].tobytes()


@pytest.mark.parametrize("name", ["uneven_reduce", "uneven_instance_norm", "uneven_mean_head"])
def test_sums_over_uneven_rows_depend_on_the_place_in_the_batch(name: str) -> None:
    """Measured, ONNX Runtime 1.31: sums of adjacent numbers start at 16 bytes, wherever the row begins."""
    case = CASES[name]
    running = session(case.model())
    fed = images(case, 8)
    assert np.roll(run(running, np.roll(fed, 1, 0)), -1, 0).tobytes() != run(running, fed).tobytes()


@pytest.mark.parametrize("name", select("stuck-batch"))
def test_a_stuck_batch_is_stuck(name: str) -> None:
    """With the batch of input and output freed by hand, twice the images fail or get other answers."""
    case = CASES[name]
    model = case.model()
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    freed = session(model)
    fed = images(case, own_batch(case) or 1)
    twice = np.concatenate([run(freed, fed)] * 2)
    try:
        answers = run(freed, np.concatenate([fed, fed]))
    except (Fail, InvalidArgument, RuntimeException):
        return
    assert answers.tobytes() != twice.tobytes()


@pytest.mark.parametrize("name", select(but=("refused",)))
def test_has_the_layers_that_it_says(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    network = Network.load(save(case, tmp_path), output=case.output)
    assert len(network.layers) == case.layers, [layer.op for layer in network.layers]


@pytest.mark.parametrize("name", select("control-flow", "random", "two-inputs"))
def test_refused_in_a_sentence(name: str, tmp_path: Path) -> None:
    path = save(CASES[name], tmp_path)
    with pytest.raises(ModelError, match=r"(?s)^\S.*") as caught:
        Network.load(path)
    assert str(path) in str(caught.value)
