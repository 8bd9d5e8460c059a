"""The record of a loaded network: its one graph, its layers, and what of it a fault can hit."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TypeProto, helper, numpy_helper

from onnxfi.errors import ModelError
from onnxfi.graph.batchnorm import batch_norm
from onnxfi.graph.ingest import Ingested, elem_type, finish, ingest
from onnxfi.graph.layers import Layer, Parameter, Refused, find_layers, follow_paths
from onnxfi.graph.load import Loaded, read
from onnxfi.graph.nan_safe import traps
from onnxfi.graph.opset import opset_of
from onnxfi.graph.parts import FLOATS, INTEGERS
from onnxfi.graph.unshare import unshare as split_shared

__all__ = ["Layer", "Network", "Parameter", "Refused", "ValueSpec"]


@dataclass(frozen=True)
class ValueSpec:
    """Name, numpy dtype and shape of a tensor; None for each dimension that is free."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Network:
    """A network ready for faults. Nothing in it is ever changed: a rewrite makes a new model."""

    path: Path
    sha256: str
    """Of the model file (with external data: of all its files, see `load.read`)."""
    producer: str
    """The exporter and its version, as the file says; empty where it does not."""
    opset: int
    ir_version: int
    """Opset and IR of the file, before ingest."""
    metadata: dict[str, str]
    model: ModelProto = field(repr=False)
    """The ingested model, everything inline, one input, one output. Read only."""
    input: ValueSpec
    output: str
    layers: tuple[Layer, ...] = field(repr=False)
    refused: tuple[Refused, ...] = field(repr=False)
    shared: dict[str, tuple[str, ...]] = field(repr=False)
    """Initializers with several readers: name -> names of the nodes that read it."""
    batch_norm: str
    """kept, folded, none, or "none or folded": see `batchnorm.batch_norm`."""
    fixed_batch: int | None
    """The batch size that the file fixes; None where it is free."""
    notes: tuple[str, ...] = ()
    """What a person should know about the model, one sentence each."""

    @classmethod
    def load(cls, path: str | Path, *, output: str | None = None, unshare: bool = False) -> Network:
        """Read, check and ingest the ONNX model at `path`.

        `output` names the tensor that holds the logits, any tensor of the graph; by default the model's only output.
        `unshare` gives each reader of a shared initializer a copy of its own, named `NAME#reader`.

        Raises ModelError: whatever is wrong with the file or cannot be treated, in one sentence.
        """
        loaded = read(path)
        try:
            return cls._of(loaded, output, unshare)
        except ModelError as error:
            raise ModelError(f"{path}: {error}") from error
        except Exception as error:
            if not loaded.notes:
                raise
            raise ModelError(f"{path} is no valid ONNX model ({loaded.notes[0]}): export it again.") from error

    @classmethod
    def _of(cls, loaded: Loaded, output: str | None, unshare: bool) -> Network:
        file = loaded.model
        facts: dict[str, Any] = {  # before ingest changes the model
            "producer": f"{file.producer_name} {file.producer_version}".strip(),
            "opset": opset_of(file),
            "ir_version": file.ir_version,
            "metadata": {p.key: p.value for p in file.metadata_props},
        }
        done = ingest(file, output)
        spec = _input(done)
        found = find_layers(done)
        if unshare and found.shared:
            split_shared(done.model, found.shared)
            found = find_layers(done)
        finished = finish(done)
        layers = follow_paths(found.layers, finished) if done.half else found.layers
        return cls(
            path=loaded.path,
            sha256=loaded.sha256,
            **facts,
            model=finished,
            input=spec,
            output=done.output,
            layers=layers,
            refused=found.refused,
            shared=found.shared,
            batch_norm=batch_norm(done.model, layers),
            fixed_batch=spec.shape[0],
            notes=(*loaded.notes, *found.notes, *traps(done.model)),
        )

    def parameters(self, which: str = "weights") -> list[tuple[Layer, Parameter]]:
        """Each stored tensor once, under the first layer that reads it, in the layers' order.

        `which`: `weights`, the weights of rank two and more; `all`, biases and what follows each layer too.
        """
        if which not in ("weights", "all"):
            raise ValueError(f"which is 'weights' or 'all', not {which!r}")
        seen: set[str] = set()
        result: list[tuple[Layer, Parameter]] = []
        for layer in self.layers:
            for p in layer.parameters:
                if p.tensor not in seen and (which == "all" or (p.role == "weight" and len(p.shape) >= 2)):
                    seen.add(p.tensor)
                    result.append((layer, p))
        return result

    def stored(self, tensor: str) -> NDArray[Any]:
        """The values of a stored tensor, in its shape and dtype; KeyError where no initializer has that name."""
        for initializer in self.model.graph.initializer:
            if initializer.name == tensor:
                return np.asarray(numpy_helper.to_array(initializer))
        raise KeyError(tensor)


def _input(done: Ingested) -> ValueSpec:
    """The one input that holds the images."""
    inputs = list(done.model.graph.input)
    names = ", ".join(repr(v.name) for v in inputs)
    if not inputs:
        raise ModelError(
            "the graph has no input that its output depends on: there is nowhere to put an image, "
            "choose another --output."
        )
    if len(inputs) > 1:
        raise ModelError(
            f"the model has {len(inputs)} inputs without a default ({names}): "
            "only one, images, can be fed, export the others as constants."
        )
    value = inputs[0]
    if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
        raise ModelError(
            f"input {value.name!r} is no tensor of a declared shape: images cannot be fitted to it, export it with one."
        )
    kind = elem_type({value.name: value.type}, value.name) or "UNDEFINED"
    shape = _shape(value.type)
    tokens = kind in ("INT32", "INT64", "UINT32") and len(shape) < 3
    if kind not in (FLOATS | INTEGERS) - {"BFLOAT16"} or len(shape) < 2 or tokens:
        raise ModelError(
            f"input {value.name!r} is {kind} {_show(shape)}: that is no batch of images, give an image classifier."
        )
    dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    return ValueSpec(value.name, str(dtype), shape)


def _shape(type_: TypeProto) -> tuple[int | None, ...]:
    dims = type_.tensor_type.shape.dim
    return tuple(d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None for d in dims)


def _show(shape: tuple[int | None, ...]) -> str:
    return "[" + ", ".join("?" if d is None else str(d) for d in shape) + "]"
