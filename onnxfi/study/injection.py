"""A faulty model for any runtime: faults in writing, put into the model as its file has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from onnxfi.engine.prepare import look
from onnxfi.engine.probe import Rows
from onnxfi.errors import FaultError, ModelError
from onnxfi.faults.fault import Fault
from onnxfi.faults.spec import Stored, parse_fault
from onnxfi.graph.fault_node import Layout
from onnxfi.graph.load import read
from onnxfi.graph.network import Network
from onnxfi.graph.rewrite import tensors, with_faults
from onnxfi.graph.tidy import constants_to_initializers
from onnxfi.graph.write import write


def inject(model: Path, faults: Sequence[str], target: Path, baked: bool) -> None:
    """Write to `target` the model with all faults in it, its graph otherwise as it was.

    The model is run, on noise, only where a fault names an activation: to see how it is made of images.
    Raises ModelError, FaultError, EngineError.
    """
    if not faults:
        raise FaultError("No fault is given; write one as TENSOR[i,j,...]:flip@30.")
    if target.exists() and target.samefile(model):
        raise ModelError(f"{target} is the model itself; give another file for the faulty one.")
    whole = read(model).model
    constants_to_initializers(whole)
    try:
        found = _parse(faults, tensors(whole))
        rows: dict[str, Layout] = {}
    except FaultError:
        rows = _rows(model)
        found = _parse(faults, tensors(whole, rows))
    write(with_faults(whole, found, rows, baked=baked), target)


def _parse(faults: Sequence[str], known: Mapping[str, Stored]) -> Fault:
    return Fault(tuple(pair for text in faults for pair in parse_fault(text, known)))


def _rows(model: Path) -> dict[str, Layout]:
    """How each activation that the file has is laid out."""
    _, probe = look(Network.load(model))
    return {name: kind.layout for name, kind in probe.kinds.items() if isinstance(kind, Rows)}
