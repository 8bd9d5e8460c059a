"""Keras -> ONNX with every weight as the framework stores it.

The stock export folds BatchNormalization, names nothing after its layer, and merges or drops weights by their values.
Here the graph is exported unfolded with stand-ins for weights, then the real weights are put in their places. Images
stay as Keras takes them, (N, height, width, channels): the file's first node turns them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from converters.keras.framework import quiet
from converters.keras.names import in_order, layer_of, rename
from converters.keras.patches import unfolded
from converters.keras.stand_ins import Array, Place, places, stand_ins
from converters.keras.trace import OUTPUT, Traced, one_tensor, plain, trace
from converters.metadata import properties
from models.normalisation import Normalisation
from onnxfi.errors import ModelError

OPSETS = range(13, 19)  # tf2onnx ends there
IR_VERSION = 8


@dataclass(frozen=True)
class Exported:
    """An ONNX model in memory and the weights it has to hold.

    `weights` {initializer: the variable as Keras stores it, turned as the file has to have it}, with the variables that
    the network reads and the exporter has reckoned away, under their own names; empty for a folded export.
    `layers` {initializer: the framework's name of its layer}.
    """

    model: onnx.ModelProto
    weights: Mapping[str, Array]
    layers: Mapping[str, str]


def export(model: Any, shape: tuple[int, ...], opset: int = OPSETS[-1], folded: bool = False) -> Exported:
    """Exports a `keras.Model` in inference mode for float32 images (N, *shape), N free.

    `folded` gives tf2onnx's own form instead, with BatchNormalization folded into the convolutions.
    Raises ModelError if the opset is none of OPSETS or the network cannot be exported.
    """
    if opset not in OPSETS:
        raise ModelError(f"opset {opset} cannot be exported; take one from {OPSETS[0]} to {OPSETS[-1]}")
    with quiet():
        return _folded(model, shape, opset) if folded else _faithful(model, shape, opset)


def describe(exported: Exported, by: Normalisation | None) -> None:
    """Writes framework, layer names and normalisation into the model's metadata."""
    del exported.model.metadata_props[:]
    onnx.helper.set_model_props(exported.model, properties("keras", exported.layers, by))


def save(model: onnx.ModelProto, path: Path) -> None:
    """Writes `path`. Raises ModelError above the 2 GiB that one protobuf file can hold."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        content = model.SerializeToString(deterministic=True)
    except ValueError as problem:
        raise ModelError(f"the network does not fit into {path}: one ONNX file ends at 2 GiB") from problem
    path.write_bytes(content)


def predict(model: Any, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """The framework's own logits: float32 (N, ...) -> (N, classes)."""
    with quiet():
        return np.asarray(one_tensor(model(images, training=False)))


def _faithful(model: Any, shape: tuple[int, ...], opset: int) -> Exported:
    variables = _variables(model)
    real = {path: variable.numpy() for path, variable in variables.items()}
    values = stand_ins(real)
    with unfolded():
        traced = trace(model, variables, values, shape, opset)
        found = _found(traced, values)
        lost = traced.read - {place.variable for place in found.values()}
        if lost:  # the exporter has reckoned with their values, so those have to be the real ones
            values = {path: value for path, value in values.items() if path not in lost}
            traced = trace(model, variables, values, shape, opset)
            found = _found(traced, values)
    graph = traced.model.graph
    named = rename(graph, found, traced.scopes)
    weights = {name: place.turned(real[place.variable]) for name, place in named.items()}
    for tensor in graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
    _finish(traced.model, model.name)
    layers = {name: place.variable.rpartition("/")[0] for name, place in named.items()}
    return Exported(traced.model, weights | {path: real[path] for path in lost}, layers)


def _found(traced: Traced, values: Mapping[str, Array]) -> dict[str, Place]:
    """Where the variables stand in the file, once its graph is in order."""
    in_order(traced.model.graph)
    return places(values, {tensor.name: numpy_helper.to_array(tensor) for tensor in traced.model.graph.initializer})


def _folded(model: Any, shape: tuple[int, ...], opset: int) -> Exported:
    traced = plain(model, shape, opset)
    in_order(traced.model.graph)
    layers = {tensor.name: layer_of(tensor.name, traced.scopes) for tensor in traced.model.graph.initializer}
    _finish(traced.model, model.name)
    return Exported(traced.model, {}, {name: layer for name, layer in layers.items() if layer})


def _finish(model: onnx.ModelProto, name: str) -> None:
    """What is the same for every export: names at the ends, a free batch, only the opset that is used."""
    model.graph.name, model.graph.doc_string = name, ""
    model.ir_version = IR_VERSION
    (output,) = model.graph.output
    for node in model.graph.node:
        node.doc_string = ""
        node.output[:] = [OUTPUT if value == output.name else value for value in node.output]
        node.input[:] = [OUTPUT if value == output.name else value for value in node.input]
    output.name = OUTPUT
    for value in (*model.graph.input, output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    used = {node.domain for node in model.graph.node}
    opsets = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(opsets)


def _variables(model: Any) -> dict[str, Any]:
    """Keras's variables by their paths in the model; the second of two with one path is called `path_2`."""
    found: dict[str, Any] = {}
    for variable in model.variables:
        own = path = variable.path.removeprefix(f"{model.name}/")
        number = 1
        while path in found:
            number += 1
            path = f"{own}_{number}"
        found[path] = variable
    return found
