"""Weights that lie outside a model, in one file: put there, and read from there.

Every session then reads, and the operating system shares, one memory-mapped copy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

from onnxfi.graph.cut import wrap

Array = np.ndarray[Any, Any]

WEIGHTS_FILE = "weights.bin"
_PAGE = 4096
_INLINE_BYTES = 1024  # small constants stay in the proto: ONNX Runtime reads shapes and bounds while loading


def externalize(model: ModelProto, folder: Path) -> ModelProto:
    """Write the large initializers of `model` into one page-aligned file in `folder`; return a model that points there.

    Weights are never copied: protobuf frees nothing of a message before all of it.
    """
    return _with_initializers(model, _put_outside(model, folder))


def anchored(model: ModelProto, folder: Path) -> ModelProto:
    """What `externalize` made in `folder`, for `values` to read: each tensor names its file in full."""
    made = []
    for tensor in model.graph.initializer:
        place = _place(tensor)
        made.append(_outside(tensor, str(folder / WEIGHTS_FILE), *place[1:]) if place else tensor)
    return _with_initializers(model, made)


def inlined(model: ModelProto) -> ModelProto:
    """An `anchored` model with its weights inside again."""
    return _with_initializers(model, [_inside(tensor) for tensor in model.graph.initializer])


def values(tensor: TensorProto) -> Array:
    """The values of a stored tensor, read-only; of one that is `anchored`, memory-mapped."""
    place = _place(tensor)
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
    if place is None or dtype.kind not in "fiu":
        return np.asarray(numpy_helper.to_array(_inside(tensor)))
    file, offset, _ = place
    return np.asarray(np.memmap(file, dtype, mode="r", offset=offset, shape=tuple(tensor.dims)))


def _put_outside(model: ModelProto, folder: Path) -> list[TensorProto]:
    made = []
    with (folder / WEIGHTS_FILE).open("wb") as file:
        for tensor in model.graph.initializer:
            raw = numpy_helper.to_array(tensor).tobytes() if not tensor.HasField("raw_data") else tensor.raw_data
            if len(raw) < _INLINE_BYTES:
                made.append(tensor)
                continue
            file.write(b"\0" * (-file.tell() % _PAGE))
            made.append(_outside(tensor, WEIGHTS_FILE, file.tell(), len(raw)))
            file.write(raw)
    return made


def _with_initializers(model: ModelProto, tensors: list[TensorProto]) -> ModelProto:
    whole = model.graph
    graph = GraphProto(
        name=whole.name, node=whole.node, input=whole.input, output=whole.output, value_info=whole.value_info
    )
    graph.initializer.extend(tensors)
    return wrap(graph, model)


def _outside(tensor: TensorProto, location: str, offset: int, length: int) -> TensorProto:
    """The tensor without its words, which lie in a file."""
    bare = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=list(tensor.dims))
    bare.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        bare.external_data.add(key=key, value=value)
    return bare


def _inside(tensor: TensorProto) -> TensorProto:
    place = _place(tensor)
    if place is None:
        return tensor
    file, offset, length = place
    raw = np.memmap(file, np.uint8, mode="r", offset=offset, shape=(length,)).tobytes()
    return TensorProto(name=tensor.name, data_type=tensor.data_type, dims=list(tensor.dims), raw_data=raw)


def _place(tensor: TensorProto) -> tuple[str, int, int] | None:
    """File, offset and length of a tensor's words; None where they are inside."""
    if tensor.data_location != TensorProto.EXTERNAL:
        return None
    entry = {e.key: e.value for e in tensor.external_data}
    return entry["location"], int(entry["offset"]), int(entry["length"])
