"""Reading an ONNX file: what is not one is refused with a sentence, external data is read and put inline.

Nothing here trusts the file: declared sizes are checked against what is there before anything is allocated, and a
name in the model is opened as a file only when it stays inside the model's own folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

from onnxfi.errors import ModelError
from onnxfi.graph.wiring import walk_nodes

LIMIT = 2**31 - 1
"""Most bytes that one protobuf message, so one inline model, can hold."""

_NOT_ONNX = (
    (0, b"version https://git-lfs", "is a git-lfs pointer, not the model: run `git lfs pull` where it was cloned"),
    (0, b"PK\x03\x04", "is a zip archive (a PyTorch or Keras file?): export it to ONNX first"),
    (0, b"\x89HDF", "is an HDF5 file (a Keras model?): export it to ONNX first"),
    (0, b"\x80\x02", "is a Python pickle (a PyTorch checkpoint?): export it to ONNX first"),
    (4, b"TFL3", "is a TensorFlow Lite file: convert it to ONNX first, with tf2onnx for example"),
    (4, b"ORTM", "is in ONNX Runtime's own .ort format: give the .onnx file that it was made from"),
)
_PACKED = {"INT4": 2, "UINT4": 2, "FLOAT4E2M1": 2, "INT2": 4, "UINT2": 4}  # elements in a byte


@dataclass(frozen=True)
class Loaded:
    """A model as its file has it, everything inline."""

    path: Path
    sha256: str
    """Of the file's bytes; with external data, of these digests and the names of the data files (see `read`)."""
    model: ModelProto
    notes: tuple[str, ...]


def read(path: str | Path) -> Loaded:
    """Read the ONNX model at `path`, external data included.

    `sha256` is that of the file where the model is one file. With external data it is the sha256 over the file's
    digest followed by, for each data file in the order of their names, the name, a zero byte and its digest.

    Raises ModelError: no such file, a folder, not ONNX, truncated, over 2 GiB, external data that is missing, too
    short or outside the model's folder.
    """
    path = Path(path)
    blob = _bytes(path)
    model = _parse(path, blob)
    files = _inline_external(path, model)
    digest = hashlib.sha256(blob)
    if files:
        joined = hashlib.sha256(digest.digest())
        for location, file in sorted(files.items()):
            with file.open("rb") as handle:
                joined.update(location.encode() + b"\0" + hashlib.file_digest(handle, "sha256").digest())
        digest = joined
    for tensor in tensors(model):
        _check_size(path, tensor)
    return Loaded(path, digest.hexdigest(), model, _check(model))


def _bytes(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise ModelError(f"{path} is a folder: give the .onnx file itself.")
        if not path.is_file():
            what = "is not a regular file" if path.exists() else "does not exist"
            raise ModelError(f"{path} {what}: give the path of an .onnx file.")
        size = path.stat().st_size
        if size > LIMIT:
            raise ModelError(
                f"{path} is {size / 2**30:.1f} GiB: models over 2 GiB cannot be treated, give a smaller one."
            )
        blob = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}): mend that and try again.") from error
    if not blob:
        raise ModelError(f"{path} is empty: fetch or export it again.")
    for offset, magic, sentence in _NOT_ONNX:
        if blob[offset : offset + len(magic)] == magic:
            raise ModelError(f"{path} {sentence}.")
    if blob.lstrip()[:9].lower().startswith((b"<!doctype", b"<html")):
        raise ModelError(f"{path} is a web page, not the model: the download went wrong, fetch it again.")
    return blob


def _parse(path: Path, blob: bytes) -> ModelProto:
    model = ModelProto()
    try:
        model.ParseFromString(blob)
    except Exception as error:  # protobuf's DecodeError, of a package that has no types
        raise ModelError(
            f"{path} is not an ONNX model, or is truncated ({len(blob)} bytes): fetch or export it again."
        ) from error
    if not model.HasField("graph") or not model.ir_version:
        raise ModelError(f"{path} is not an ONNX model: it holds no graph, give an .onnx file.")
    if not model.opset_import:
        raise ModelError(f"{path} is truncated or not an ONNX model: it names no opset, fetch or export it again.")
    if not model.graph.node:
        raise ModelError(f"{path} has an empty graph: there is no node to run, export it again.")
    if any(isinstance(text, bytes) for text in _texts(model)):
        raise ModelError(f"{path} holds a name that is no UTF-8 text: the file is damaged, fetch or export it again.")
    return model


def _texts(model: ModelProto) -> Iterator[str | bytes]:
    """The names and texts that are read here; protobuf gives bytes for one that is not UTF-8."""
    yield from (model.producer_name, model.producer_version)
    for entry in model.metadata_props:
        yield from (entry.key, entry.value)
    graph = model.graph
    for value in (*graph.input, *graph.output, *graph.value_info):
        yield value.name
    yield from (tensor.name for tensor in tensors(model))
    yield from (o.domain for o in model.opset_import)
    for node in (*walk_nodes(graph), *(n for function in model.functions for n in function.node)):
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (a.name for a in node.attribute)
        for entry in node.metadata_props:
            yield from (entry.key, entry.value)


def tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Every tensor stored in the model: initializers and node attributes, sub-graphs and functions included."""
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        for node in function.node:
            yield from _node_tensors(node)


def _graph_tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
        yield sparse.indices
    for node in graph.node:
        yield from _node_tensors(node)


def _node_tensors(node: NodeProto) -> Iterator[TensorProto]:
    for attribute in node.attribute:
        if attribute.type == AttributeProto.TENSOR:
            yield attribute.t
        yield from attribute.tensors
        if attribute.type == AttributeProto.GRAPH:
            yield from _graph_tensors(attribute.g)
        for graph in attribute.graphs:
            yield from _graph_tensors(graph)


def type_name(data_type: int) -> str:
    """ONNX's own name of a TensorProto data type, FLOAT for 1; the number where it has none."""
    try:
        return str(TensorProto.DataType.Name(data_type))
    except ValueError:
        return f"type {data_type}"


def _stored_bytes(path: Path, tensor: TensorProto) -> int:
    """Bytes of the tensor's raw data by its declared shape and type."""
    name = type_name(tensor.data_type)
    count = 1
    for dim in tensor.dims:
        if dim < 0:
            raise ModelError(
                f"{path}: tensor {tensor.name!r} has a negative dimension {dim}: fetch or export it again."
            )
        count *= dim
    if name in _PACKED:
        return -(-count // _PACKED[name])
    try:
        return count * int(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)).itemsize)
    except (KeyError, ValueError, TypeError) as error:
        raise ModelError(
            f"{path}: tensor {tensor.name!r} is of {name}, which onnxfi does not know: export it with another type."
        ) from error


def _check_size(path: Path, tensor: TensorProto) -> None:
    if type_name(tensor.data_type) in ("STRING", "UNDEFINED") or not tensor.HasField("raw_data"):
        return  # typed fields are parsed element by element, and read by numpy_helper, which checks the count
    need = _stored_bytes(path, tensor)
    if len(tensor.raw_data) != need:
        raise ModelError(
            f"{path}: tensor {tensor.name!r} of shape {list(tensor.dims)} holds {len(tensor.raw_data)} bytes "
            f"where it needs {need}: fetch or export it again."
        )


def _inline_external(path: Path, model: ModelProto) -> dict[str, Path]:
    """Read external tensors into their raw_data; the data files by the name the model calls them."""
    external = [t for t in tensors(model) if t.data_location == TensorProto.EXTERNAL]
    total = sum(_stored_bytes(path, t) for t in external)
    if total > LIMIT:
        raise ModelError(
            f"{path} has {total / 2**30:.1f} GiB of external data: models over 2 GiB cannot be treated, "
            "give a smaller one."
        )
    files: dict[str, Path] = {}
    for tensor in external:
        entry = {e.key: e.value for e in tensor.external_data}
        location = entry.get("location", "")
        if location not in files:
            files[location] = _inside(path, tensor.name, location)
        raw = _slice(path, tensor, files[location], entry)
        tensor.raw_data = raw
        tensor.ClearField("data_location")
        del tensor.external_data[:]
    return files


def _inside(path: Path, tensor: str, location: str) -> Path:
    """The data file that `location` names, once it is sure to lie in the model's folder."""
    posix, windows = PurePosixPath(location), PureWindowsPath(location)
    where = f"{path}: the external data of {tensor!r}, {location!r},"
    if not location or "\0" in location:
        raise ModelError(f"{where} is no file name: save the model again.")
    if posix.is_absolute() or windows.is_absolute() or windows.drive or ".." in (*posix.parts, *windows.parts):
        raise ModelError(f"{where} leaves the model's folder: put the data file beside the model and save it again.")
    file = path.parent / location
    if not file.exists():
        raise ModelError(f"{where} is missing: fetch it too, it belongs in {path.parent}.")
    if not file.resolve().is_relative_to(path.parent.resolve()):
        raise ModelError(f"{where} leaves the model's folder through a link: put the data file itself there.")
    if not file.is_file():
        raise ModelError(f"{where} is not a regular file: put the data file itself there.")
    return file


def _slice(path: Path, tensor: TensorProto, file: Path, entry: dict[str, str]) -> bytes:
    need = _stored_bytes(path, tensor)
    where = f"{path}: the external data of {tensor.name!r} in {file.name!r}"
    try:
        offset = int(entry.get("offset") or 0)
        length = int(entry.get("length") or need)
    except ValueError as error:
        raise ModelError(f"{where} has an offset or length that is no number: save the model again.") from error
    if offset < 0 or length != need:
        raise ModelError(
            f"{where} declares {length} bytes at {offset} where its shape needs {need}: save the model again."
        )
    try:
        size = file.stat().st_size
        if offset + need > size:
            raise ModelError(f"{where} needs bytes up to {offset + need}, the file ends at {size}: fetch it again.")
        with file.open("rb") as handle:
            handle.seek(offset)
            return handle.read(need)
    except OSError as error:
        raise ModelError(f"{where} cannot be read ({error.strerror}): mend that and try again.") from error


def _check(model: ModelProto) -> tuple[str, ...]:
    """What onnx's checker says, as a note: ONNX Runtime loads models that the checker complains about."""
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        return (f"onnx's checker: {str(error).strip().splitlines()[0]}",)
    except Exception:  # the checker is a help, and the runtime has the last word
        return ("onnx's checker could not take this model",)
    return ()
