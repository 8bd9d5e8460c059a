"""A model run in pieces, so that every tensor that it computes is seen and few are held."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from onnxfi.engine.session import Session
from onnxfi.graph.cut import Model, Node, ValueType, activations, stretch, with_outputs

Array = np.ndarray[Any, Any]

_BYTES_A_PIECE = 192 << 20


def every_tensor(
    model: Model, folder: Path, input_name: str, batches: Mapping[str, Array], least: Array, what: str
) -> Iterator[tuple[str, dict[str, Array]]]:
    """Run `model` on several batches of images and give each tensor, the input first: its name, its value by batch.

    folder: where the model's weights lie, if they lie outside; pieces are written there. batches: images (n, *shape)
    by name. least: as few as the model takes, to see how large its tensors are. what: the model in errors.

    A piece begins with what the pieces before it wrote, and that is let go when no later one reads it. So each node is
    run once a batch, by the kernel that the whole model would run, and memory holds a piece.
    """
    held = {batch: {input_name: np.ascontiguousarray(images)} for batch, images in batches.items()}

    def across(name: str) -> dict[str, Array]:
        return {batch: values[name] for batch, values in held.items()}

    yield input_name, across(input_name)
    sizes = _sizes(model, folder, {input_name: np.ascontiguousarray(least)}, what)
    share = sum(map(len, batches.values())) / len(least)
    for nodes, later in _pieces(model, {name: share * size for name, size in sizes.items()}):
        piece = stretch(model, nodes, lambda name: _value_type(name, across(name)))
        session = opened(piece.model, folder, what)
        for values in held.values():
            feeds = {name: values[name] for name in piece.crossing}
            values.update(zip(session.outputs, session.run(feeds), strict=True))
        for name in session.outputs:
            yield name, across(name)
        for values in held.values():
            for name in values.keys() - later:
                del values[name]


def opened(model: Model, folder: Path, what: str) -> Session:
    """A session of a model whose weights may lie in `folder`; `what` is its name in errors."""
    path = folder / "opened.onnx"
    path.write_bytes(model.SerializeToString())
    return Session(path, what=what)


def _sizes(model: Model, folder: Path, feeds: Mapping[str, Array], what: str) -> dict[str, int]:
    """Bytes of each tensor."""
    session = opened(with_outputs(model, activations(model)), folder, what)
    return {name: value.nbytes for name, value in zip(session.outputs, session.run(feeds), strict=True)}


def _pieces(model: Model, sizes: Mapping[str, float]) -> Iterator[tuple[list[Node], set[str]]]:
    """Neighbouring nodes that write little enough to be held together, or one node; and all that later nodes read."""
    nodes = list(model.graph.node)
    start, total = 0, 0.0
    for i, node in enumerate(nodes):
        size = sum(sizes[name] for name in node.output if name)
        if total and total + size > _BYTES_A_PIECE:
            yield nodes[start:i], {name for later in nodes[i:] for name in later.input}
            start, total = i, 0.0
        total += size
    yield nodes[start:], set()


def _value_type(name: str, values: Mapping[str, Array]) -> ValueType:
    """Of a tensor that is there in several batches: sizes in which they differ are free."""
    first = next(iter(values.values()))
    sizes = [set(d) for d in zip(*(value.shape for value in values.values()), strict=False)]
    shape = tuple(min(d) if len(d) == 1 else f"{name}.{axis}" for axis, d in enumerate(sizes))
    return ValueType.of(first.dtype, shape)
