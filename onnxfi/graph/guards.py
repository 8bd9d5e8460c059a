"""Guards written into a model with standard ops, between a stored word and those who read it.

A stored weight:  BitCast -> BitwiseAnd keep -> BitwiseOr put -> BitCast (opset 26), then
                  Less high' and Greater low' -> Where(inside, word, 0), or Clip(low, high).
                  or BitCast -> majority of the word and two copies -> BitCast.
An activation:    the same check (or Clip) behind what writes it; all readers get the checked value.

`high'` is the next number above the bound and `low'` the next below: so NaN is inside of nothing, at every opset.

A runtime folds what depends on constants alone, when it loads the model: such guards mend words that were wrong in the
file, and are gone afterwards. `live` makes each first operand of a weight's guard depend on the image by
`Less(Abs(one number of the image), 0)`, which is never true and which no optimiser knows to be false: the guard then
runs with every inference, on the word as it is in memory. It also keeps the runtime from packing the weight for speed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from onnxfi.errors import ModelError
from onnxfi.faults.bits import Word
from onnxfi.faults.guard import Guard
from onnxfi.graph.opset import NEWEST_OPSET, opset_of, to_opset
from onnxfi.graph.patch import Patch
from onnxfi.graph.tidy import constants_to_initializers, drop_initializer_inputs, set_nodes

LABEL = "guard"
"""Part of the name of every tensor and node that a guard adds."""

_OLDEST = 13  # Where, Clip with operands, Less and Greater of every float


@dataclass(frozen=True)
class Guarded:
    """A model with guards. `words`: guarded tensor -> what its readers get instead. `constants`: what was added."""

    model: ModelProto
    words: dict[str, str]
    constants: tuple[str, ...]

    @property
    def added_bytes(self) -> int:
        """Bytes of the constants that the guards read."""
        names = set(self.constants)
        return sum(len(t.raw_data) for t in self.model.graph.initializer if t.name in names)

    @property
    def added_nodes(self) -> int:
        """Nodes that the guards are made of."""
        return guard_nodes(self.model)


def with_guards(
    model: ModelProto, weights: dict[str, Guard], activations: dict[str, Guard], *, live: bool = False
) -> Guarded:
    """A copy of `model` with guards at initializers and activations, by tensor; at opset 26 where a mask needs it.

    Activations are checked only, never masked. Raises ModelError: no way to the opset that the guards need, a tensor
    that is not there, or an activation that is an output of the model.
    """
    needed = NEWEST_OPSET if any(guard.masked for guard in weights.values()) else _OLDEST
    copy = to_opset(model, max(needed, opset_of(model)))
    drop_initializer_inputs(copy)  # a word that a caller may override is none that a runtime could fold
    constants_to_initializers(copy)
    patch = Patch(copy.graph, LABEL)
    stored = {t.name: tuple(t.dims) for t in copy.graph.initializer}
    producer = {name: i for i, node in enumerate(copy.graph.node) for name in node.output}
    outputs = {v.name for v in copy.graph.output}
    unknown = [t for t in (*weights, *activations) if t not in {*stored, *producer, *_inputs(copy)}]
    if unknown:
        raise ModelError(f"{unknown[0]!r} is no tensor of the model, so nothing can guard it.")
    words: dict[str, str] = {}
    never = _never(copy, patch) if live and weights else None
    for tensor, guard in weights.items():
        words[tensor] = _weight(patch, tensor, guard, stored[tensor], never)
    first = patch.take()
    after: dict[int, list[NodeProto]] = {}
    for tensor, guard in activations.items():
        if tensor in outputs:
            raise ModelError(f"{tensor!r} is an output of the model: no guard can come after it.")
        words[tensor] = _check(patch, tensor, tensor, guard, 0, None)
        after.setdefault(producer.get(tensor, -1), []).extend(patch.take())
    for node in copy.graph.node:
        for slot, name in enumerate(node.input):
            if name in words:
                node.input[slot] = words[name]
    nodes = first + after.get(-1, [])
    for i, node in enumerate(copy.graph.node):
        nodes += [node, *after.get(i, [])]
    set_nodes(copy.graph, nodes)
    copy.graph.initializer.extend(patch.constants)
    return Guarded(copy, words, tuple(t.name for t in patch.constants))


def guard_nodes(model: ModelProto) -> int:
    """Nodes of `model` that belong to guards, known by their names: what an optimiser has left of them."""
    return sum(f"/{LABEL}/" in name for node in model.graph.node for name in node.output)


def stored_tensors(model: ModelProto) -> dict[str, bytes]:
    """The bytes of each tensor that the model stores, by name, in Constant nodes too."""
    copy = ModelProto()
    copy.CopyFrom(model)
    constants_to_initializers(copy)
    return {t.name: numpy_helper.to_array(t).tobytes() for t in copy.graph.initializer}


def words_of(model: ModelProto, tensors: Sequence[str]) -> dict[str, np.ndarray[Any, Any]]:
    """The values of these initializers of `model`."""
    wanted = set(tensors)
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer if t.name in wanted}


def left_in(path: Path) -> int:
    """Nodes of guards in the model at `path`, as a runtime's optimiser wrote it."""
    return guard_nodes(onnx.load(path, load_external_data=False))


def opened(model: ModelProto, tensors: Sequence[str]) -> ModelProto:
    """A copy of `model` in which the initializers `tensors` are inputs, to be fed with other words."""
    copy = ModelProto()
    copy.CopyFrom(model)
    wanted = set(tensors)
    kept = [t for t in copy.graph.initializer if t.name not in wanted]
    listed = {v.name for v in copy.graph.input}
    for tensor in copy.graph.initializer:
        if tensor.name in wanted - listed:
            copy.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    del copy.graph.initializer[:]
    copy.graph.initializer.extend(kept)
    return copy


def _inputs(model: ModelProto) -> set[str]:
    return {v.name for v in model.graph.input}


def _never(model: ModelProto, patch: Patch) -> str:
    """A boolean that is false whatever the image, NaN included; no optimiser can tell."""
    stored = {t.name for t in model.graph.initializer}
    image = next(v.name for v in model.graph.input if v.name not in stored)
    flat = patch.node("Reshape", image, "flat", image, patch.constant(image, "flat_shape", np.array([-1], np.int64)))
    one = patch.node("Gather", image, "one", flat, patch.constant(image, "place", np.array(0, np.int64)))
    number = patch.node("Cast", image, "number", one, to=TensorProto.FLOAT)
    size = patch.node("Abs", image, "size", number)
    return patch.node("Less", image, "never", size, patch.constant(image, "nought", np.array(0, np.float32)))


def _weight(patch: Patch, tensor: str, guard: Guard, dims: Sequence[int], never: str | None) -> str:
    """Nodes behind a stored tensor; the name of what they give."""
    values = tensor
    if guard.masked:
        word = Word(guard.dtype)
        unsigned = int(helper.np_dtype_to_tensor_dtype(word.unsigned))
        own = int(helper.np_dtype_to_tensor_dtype(np.dtype(guard.dtype)))
        words = patch.node("BitCast", tensor, "words", values, to=unsigned)
        if guard.vote:
            words = _majority(patch, tensor, words, guard, dims, never)
            return patch.node("BitCast", tensor, "voted", words, to=own)
        masks = [("And", "keep", guard.keep, word.mask), ("Or", "put", guard.put, 0)]
        for op, part, mask, neutral in masks:
            if all(one == neutral for one in mask):
                continue
            operand = _operand(patch, tensor, part, _shaped(mask, word.unsigned, len(dims)), never)
            words = patch.node(f"Bitwise{op}", tensor, f"{part}_done", words, operand)
        values = patch.node("BitCast", tensor, "masked", words, to=own)
    return _check(patch, tensor, values, guard, len(dims), never) if guard.checked else values


def _majority(patch: Patch, tensor: str, words: str, guard: Guard, dims: Sequence[int], never: str | None) -> str:
    """Of each bit of the stored word and two copies: (a & b) | (a & c) | (b & c)."""
    copy = np.array(guard.keep, Word(guard.dtype).unsigned).reshape(tuple(dims))
    one, two = (_operand(patch, tensor, part, copy, never) for part in ("copy", "other_copy"))
    pairs = [(words, one), (words, two), (one, two)]
    both = [patch.node("BitwiseAnd", tensor, f"both_{i}", *pair) for i, pair in enumerate(pairs)]
    some = patch.node("BitwiseOr", tensor, "either", both[0], both[1])
    return patch.node("BitwiseOr", tensor, "majority", some, both[2])


def _check(patch: Patch, tensor: str, values: str, guard: Guard, rank: int, never: str | None) -> str:
    """Nodes that keep `values` in range; the name of what they give."""
    dtype = np.dtype(guard.dtype)
    low, high = (_shaped(bounds, dtype, rank) for bounds in (guard.low, guard.high))
    if guard.clamp:
        bounds = [_operand(patch, tensor, part, b, never) for part, b in (("low", low), ("high", high))]
        return patch.node("Clip", tensor, "clamped", values, *bounds)
    above = _operand(patch, tensor, "above", np.nextafter(high, dtype.type(np.inf)), never)
    below = _operand(patch, tensor, "below", np.nextafter(low, dtype.type(-np.inf)), never)
    less = patch.node("Less", tensor, "less", values, above)
    inside = patch.node("And", tensor, "inside", less, patch.node("Greater", tensor, "greater", values, below))
    return patch.node("Where", tensor, "checked", inside, values, patch.constant(tensor, "nought", np.zeros((), dtype)))


def _shaped(numbers: Sequence[int] | Sequence[float], dtype: np.dtype[Any], rank: int) -> np.ndarray[Any, Any]:
    """One number as a scalar; one for each row so that it meets the first axis of a tensor of this rank."""
    table = np.array(numbers, dtype)
    return table.reshape(()) if len(table) == 1 else table.reshape(-1, *(1,) * (rank - 1))


def _operand(patch: Patch, tensor: str, part: str, value: np.ndarray[Any, Any], never: str | None) -> str:
    """A constant; or what equals it and depends on the image."""
    name = patch.constant(tensor, part, value)
    if never is None:
        return name
    other = patch.constant(tensor, f"{part}_other", np.where(value == 0, 1, 0).astype(value.dtype))
    return patch.node("Where", tensor, f"{part}_live", never, other, name)
