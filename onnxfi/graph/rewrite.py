"""A fault written into a whole model, with standard ops: what `onnxfi inject` writes, and the oracle of the tests.

Slow and obvious on purpose; the engine is fast and has to agree with it. The golden model is never changed. The fault
happens at run time, on whatever word is there (opset 26, for BitCast), or is baked into a stored word beforehand.

An initializer:  GatherND the words -> BitCast -> And keep -> Xor toggle -> BitCast -> ScatterND them back.
An activation:   BitCast -> And keep -> Xor toggle -> BitCast, with masks of one image's row, the same for every image.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from onnxfi.errors import FaultError
from onnxfi.faults.bits import Word
from onnxfi.faults.fault import Change, Site
from onnxfi.faults.spec import Stored
from onnxfi.graph.fault_node import Layout
from onnxfi.graph.opset import NEWEST_OPSET, opset_of, to_opset
from onnxfi.graph.patch import Patch
from onnxfi.graph.tidy import set_nodes

LABEL = "fault"
"""Part of the name of every tensor and node that a rewrite adds."""

Array = NDArray[Any]
Edits = Sequence[tuple[int, Change]]


def tensors(model: ModelProto, rows: Mapping[str, Layout] | None = None) -> dict[str, Stored]:
    """What a fault can hit, for `parse_fault`: initializers by their shape, activations by one image's row."""
    found: dict[str, Stored] = {}
    for name, row in (rows or {}).items():
        _enter(found, name, row.elem_type, row.shape)
    for tensor in model.graph.initializer:
        _enter(found, tensor.name, tensor.data_type, tensor.dims)
    return found


def with_faults(
    model: ModelProto,
    fault: Iterable[tuple[Site, Change]],
    rows: Mapping[str, Layout] | None = None,
    *,
    baked: bool = False,
) -> ModelProto:
    """A copy of `model` in which `fault` happens, at every run and in every image.

    `rows`: how the activations that the fault hits are laid out; the rest of its sites must be initializers. All
    readers of a tensor see the fault, the graph's outputs too. With `baked` the words of initializers are changed in
    the file, at the model's own opset; otherwise the model is brought to opset 26.

    Raises FaultError: a tensor that is neither, an index outside it, a dtype that has no bit codec, an activation to be
    baked. ModelError: no way to opset 26.
    """
    edits: dict[str, list[tuple[int, Change]]] = defaultdict(list)
    for site, change in fault:
        edits[site.tensor].append((site.index, change))
    if baked:
        copy = ModelProto()
        copy.CopyFrom(model)
    else:
        copy = to_opset(model, max(NEWEST_OPSET, opset_of(model)))
    stored = {t.name: t for t in copy.graph.initializer}
    for name, changes in edits.items():
        if name in stored and baked:
            _bake(stored[name], changes)
        elif name in stored:
            _insert(copy, name, _weight_fault(copy, stored[name], changes))
        elif baked:
            raise FaultError(f"{name!r} is no stored tensor of the model: only those can be baked")
        elif name in (rows or {}):
            _insert(copy, name, _activation_fault(copy, name, (rows or {})[name], changes))
        else:
            raise FaultError(f"{name!r} is neither an initializer of the model nor an activation whose rows are known")
    return copy


def with_delta(model: ModelProto, tensor: str, index: int, delta: Array, row: Layout) -> ModelProto:
    """A copy of `model` in which `delta` is added to element `index` (flat) of each image's row of `tensor`.

    `delta`: one number an image, shape (R,), of the tensor's dtype, for runs of exactly R images; a single one for any
    number. The sum is the tensor's own arithmetic. All else passes bit for bit. At the model's own opset, from 9 on.
    """
    dtype = helper.tensor_dtype_to_np_dtype(row.elem_type)
    if delta.dtype != dtype or delta.ndim != 1:
        raise FaultError(f"{tensor!r} needs one {dtype} an image, not {delta.dtype} of shape {delta.shape}")
    _check(tensor, index, math.prod(row.shape))
    copy = to_opset(model, 9) if opset_of(model) < 9 else ModelProto.FromString(model.SerializeToString())
    patch = Patch(copy.graph, LABEL)
    source, target = _ends(copy, tensor, patch)
    chosen = np.zeros(math.prod(row.shape), np.bool_)
    chosen[index] = True
    split = _split(row)
    whole = _reshaped(patch, tensor, "rows", source, split)
    images = [1] * len(split)
    images[split.index(-1)] = len(delta)
    summed = patch.node("Add", tensor, "sum", whole, patch.constant(tensor, "delta", delta.reshape(images)))
    here = patch.constant(tensor, "here", chosen.reshape([1 if n == -1 else n for n in split]))
    mixed = patch.node("Where", tensor, "mixed", here, summed, whole)
    _back(patch, tensor, mixed, source, target)
    _insert(copy, tensor, patch)
    return copy


def _enter(found: dict[str, Stored], name: str, elem_type: int, shape: Iterable[int]) -> None:
    try:
        dtype = Word(np.dtype(helper.tensor_dtype_to_np_dtype(elem_type)).name).dtype
    except (FaultError, KeyError, TypeError, ValueError):
        return  # no bit codec for it: 4-bit integers, booleans, strings
    found[name] = Stored(dtype, tuple(int(d) for d in shape))


def _check(tensor: str, index: int, size: int) -> None:
    if not 0 <= index < size:
        raise FaultError(f"index {index} into {tensor!r} is not within 0 to {size - 1}")


def _bake(tensor: TensorProto, changes: Edits) -> None:
    """Change words of an initializer in place."""
    word = Word(np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type)).name)
    values = numpy_helper.to_array(tensor)
    words = word.words(np.ascontiguousarray(values).reshape(-1)).copy()
    for index, change in changes:
        _check(tensor.name, index, words.size)
        words[index] = change.apply(words[index : index + 1])[0]
    tensor.CopyFrom(numpy_helper.from_array(word.values(words).reshape(values.shape), tensor.name))


def _weight_fault(model: ModelProto, tensor: TensorProto, changes: Edits) -> Patch:
    """A few words of a stored tensor, gathered, changed and put back."""
    name, patch = tensor.name, Patch(model.graph, LABEL)
    word = Word(np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type)).name)
    where, keep, toggle = _masks(name, changes, word, math.prod(tensor.dims))
    source, target = _ends(model, name, patch)
    flat = _reshaped(patch, name, "flat", source, [-1])
    sites = patch.constant(name, "sites", where)
    old = _words(patch, name, patch.node("GatherND", name, "gathered", flat, sites), word)
    kept = patch.node("BitwiseAnd", name, "kept", old, patch.constant(name, "keep", keep))
    new = patch.node("BitwiseXor", name, "toggled", kept, patch.constant(name, "toggle", toggle))
    values = _values(patch, name, new, word, tensor.data_type)
    changed = patch.node("ScatterND", name, "changed", flat, sites, values)
    shape = patch.constant(name, "shape", np.array(tensor.dims, np.int64))
    patch.node("Reshape", name, "faulty", changed, shape, out=target)
    return patch


def _activation_fault(model: ModelProto, name: str, row: Layout, changes: Edits) -> Patch:
    """All words of an activation, through masks that change a few of each image's row."""
    patch = Patch(model.graph, LABEL)
    word = Word(np.dtype(helper.tensor_dtype_to_np_dtype(row.elem_type)).name)
    size = math.prod(row.shape)
    where, keep, toggle = _masks(name, changes, word, size)
    source, target = _ends(model, name, patch)
    split = _split(row)
    words = _reshaped(patch, name, "rows", _words(patch, name, source, word), split)
    sites = patch.constant(name, "sites", where)
    mask_shape = [1 if n == -1 else n for n in split]
    for op, part, changed, neutral in (("And", "keep", keep, word.mask), ("Xor", "toggle", toggle, 0)):
        fill = numpy_helper.from_array(np.array([neutral], word.unsigned))
        count = patch.constant(name, f"{part}_size", np.array([size], np.int64))
        all_neutral = patch.node("ConstantOfShape", name, f"{part}_neutral", count, value=fill)
        given = patch.constant(name, f"{part}_words", changed)
        flat = patch.node("ScatterND", name, f"{part}_flat", all_neutral, sites, given)
        mask = _reshaped(patch, name, f"{part}_mask", flat, mask_shape)
        words = patch.node(f"Bitwise{op}", name, f"{part}_done", words, mask)
    values = _values(patch, name, words, word, row.elem_type)
    _back(patch, name, values, source, target)
    return patch


def _masks(name: str, changes: Edits, word: Word, size: int) -> tuple[Array, Array, Array]:
    """Indices int64 (n, 1), words to keep and words to toggle, both (n,)."""
    for index, change in changes:
        _check(name, index, size)
        change.apply(np.zeros(1, word.unsigned))  # refuses bits that the word does not have
    where = np.array([[index] for index, _ in changes], np.int64)
    keep = np.array([change.keep & word.mask for _, change in changes], word.unsigned)
    toggle = np.array([change.toggle for _, change in changes], word.unsigned)
    return where, keep, toggle


def _split(row: Layout) -> list[int]:
    """A shape in which the images have an axis of their own, the only -1."""
    if row.repeat == 1:
        return [int(d) for d in row.stacked(-1)]
    pair = [row.repeat, -1] if row.minor else [-1, row.repeat]
    return [*row.shape[: row.axis], *pair, *row.shape[row.axis + 1 :]]


def _words(patch: Patch, name: str, values: str, word: Word) -> str:
    unsigned = int(helper.np_dtype_to_tensor_dtype(word.unsigned))
    same = word.dtype == word.unsigned.name
    return values if same else patch.node("BitCast", name, "words", values, to=unsigned)


def _values(patch: Patch, name: str, words: str, word: Word, elem_type: int) -> str:
    same = word.dtype == word.unsigned.name
    return words if same else patch.node("BitCast", name, "values", words, to=elem_type)


def _reshaped(patch: Patch, name: str, part: str, data: str, shape: ArrayLike) -> str:
    return patch.node("Reshape", name, part, data, patch.constant(name, f"{part}_shape", np.array(shape, np.int64)))


def _back(patch: Patch, name: str, rows: str, source: str, target: str) -> None:
    """Give `rows` the shape that the tensor had."""
    patch.node("Reshape", name, "faulty", rows, patch.node("Shape", name, "shape", source), out=target)


def _ends(model: ModelProto, tensor: str, patch: Patch) -> tuple[str, str]:
    """Where the golden value is to be read and under which name the faulty one is to be written.

    What a node writes is renamed, so that the faulty value bears the name and all readers see it. A graph input or an
    initializer keeps its name, and its readers are sent to the new one.
    """
    graph = model.graph
    for node in graph.node:
        for i, output in enumerate(node.output):
            if output == tensor:
                node.output[i] = patch.fresh(tensor, "golden")
                return node.output[i], tensor
    if any(v.name == tensor for v in graph.output):
        raise FaultError(f"{tensor!r} is an output that no node writes, so no fault can come between")
    faulty = patch.fresh(tensor, "faulty")
    for node in graph.node:
        for slot, name in enumerate(node.input):
            if name == tensor:
                node.input[slot] = faulty
    return tensor, faulty


def _insert(model: ModelProto, tensor: str, patch: Patch) -> None:
    """Put the patch right behind what writes the golden value: before all of its readers."""
    graph = model.graph
    graph.initializer.extend(patch.constants)
    new = patch.take()
    golden = next((n for n in graph.node if any(o in new[0].input for o in n.output)), None)
    nodes: list[NodeProto] = [] if golden is not None else new
    for node in graph.node:
        nodes.append(node)
        if node is golden:
            nodes.extend(new)
    set_nodes(graph, nodes)
