"""PyTorch -> ONNX with every weight as the framework stores it.

The stock export folds BatchNormalization into the convolution before it and merges parameters of equal value, so that
a bit flipped in the file is not a bit flipped in the deployed model. Here the graph is exported as it is, and the
clean-up passes run while the parameters are hidden from them: what they cannot see they cannot fold, merge or drop.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from onnxscript import optimizer
from torch import nn

from converters.metadata import properties
from models.normalisation import Normalisation
from onnxfi.errors import ModelError

INPUT, OUTPUT = "input", "logits"
OPSETS = range(18, 27)
IR_VERSION = 10
EXTERNAL = 1_500_000_000  # bytes of weights; one protobuf file ends at 2 GiB
SCOPES = "pkg.torch.onnx.name_scopes"


@dataclass(frozen=True)
class Exported:
    """An ONNX model in memory, and the names of the parameters that it has to hold."""

    model: ir.Model
    parameters: frozenset[str]


def export(net: nn.Module, shape: tuple[int, ...], opset: int = 20, folded: bool = False) -> Exported:
    """Exports `net` in evaluation mode for float32 images (N, *shape), N free.

    `folded` gives the exporter's own form instead, with BatchNormalization folded into the convolutions.
    Raises ModelError if the opset is none of OPSETS or PyTorch cannot export the network.
    """
    if opset not in OPSETS:
        raise ModelError(f"opset {opset} cannot be exported; take one from {OPSETS[0]} to {OPSETS[-1]}")
    program = _program(net.eval(), shape, opset, folded)
    model: ir.Model = program.model
    state = set(net.state_dict())
    parameters = frozenset() if folded else _optimise_around(model, state)
    model.ir_version = IR_VERSION
    _forget_sources(model)
    return Exported(model, parameters)


def describe(model: ir.Model, net: nn.Module, by: Normalisation | None) -> None:
    """Writes framework, layer names and normalisation into the model's metadata."""
    model.metadata_props.update(properties("pytorch", layers(model, set(net.state_dict())), by))


def layers(model: ir.Model, state: set[str]) -> dict[str, str]:
    """{initializer: module it belongs to} for every initializer that bears a state dict name.

    A folded bias is called after the weight it was made beside, `conv1.weight_bias`, and belongs to that layer.
    """
    found = {}
    for name in model.graph.initializers:
        owner = name if name in state else name.removesuffix("_bias")
        if owner in state:
            found[name] = owner.rpartition(".")[0] or owner
    return found


def save(model: ir.Model, path: Path) -> None:
    """Writes `path`; weights of more than EXTERNAL bytes go into `path`.data beside it."""
    size = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value is not None)
    path.parent.mkdir(parents=True, exist_ok=True)
    ir.save(model, path, external_data=f"{path.name}.data" if size > EXTERNAL else None)


def stored(net: nn.Module) -> dict[str, NDArray[np.generic]]:
    """The state dict as arrays."""
    return {name: value.detach().cpu().numpy() for name, value in net.state_dict().items()}


@torch.no_grad()
def predict(net: nn.Module, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """The framework's own logits: float32 (N, ...) -> (N, classes)."""
    answer = net(torch.from_numpy(images))
    if not isinstance(answer, torch.Tensor):
        raise ModelError(f"the network returns a {type(answer).__name__}; it has to return one tensor of logits")
    return np.asarray(answer.numpy())


def _program(net: nn.Module, shape: tuple[int, ...], opset: int, folded: bool) -> torch.onnx.ONNXProgram:
    example = torch.zeros(2, *shape)
    batch = torch.export.Dim("batch", min=1)
    try:
        with _quiet():
            program = torch.onnx.export(
                net, (example,), input_names=[INPUT], output_names=[OUTPUT], opset_version=opset, dynamo=True,
                dynamic_shapes=({0: batch},), optimize=folded, verbose=False,
            )  # fmt: skip
    except Exception as problem:
        reason = next((line for line in str(problem).splitlines() if line.strip()), type(problem).__name__)
        raise ModelError(f"PyTorch cannot export this network: {reason}") from problem
    if program is None:
        raise ModelError("PyTorch cannot export this network with its torch.export-based exporter")
    return program


def _optimise_around(model: ir.Model, names: set[str]) -> frozenset[str]:
    """Cleans the graph up without touching the initializers `names`; returns those that the graph reads.

    For the while they are graph inputs without a value.
    """
    graph = model.graph
    real = len(graph.inputs)
    hidden = [value for name, value in graph.initializers.items() if name in names and value.uses()]
    contents = {value.name: value.const_value for value in hidden}
    for value in hidden:
        del graph.initializers[str(value.name)]
        value.const_value = None
        graph.inputs.append(value)
    with _quiet():
        optimizer.optimize_ir(model)
    for value in graph.inputs[real:]:
        value.const_value = contents[value.name]
        graph.initializers[str(value.name)] = value
    del graph.inputs[real:]
    return frozenset(map(str, contents))


def _forget_sources(model: ir.Model) -> None:
    """Takes out stack traces and source paths; of a node's metadata only its module scope stays."""
    model.graph.metadata_props.clear()
    for node in model.graph.all_nodes():
        scopes = node.metadata_props.get(SCOPES)
        node.metadata_props.clear()
        if scopes is not None:
            node.metadata_props[SCOPES] = scopes
        for value in node.outputs:
            value.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        value.metadata_props.clear()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the exporter's progress lines, its log and the warnings about its own code off the terminal."""
    logs = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)
