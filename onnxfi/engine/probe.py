"""How each tensor of a model is made of images: found by running it, not by reading shapes.

A few images at a time, turned round, and twice as many: a tensor splits into rows if its rows turn round with the
images and do not change with their number. What does not split is named; it matters only where a cut needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnxfi.engine.piecewise import every_tensor
from onnxfi.engine.session import STEP
from onnxfi.errors import EngineError
from onnxfi.graph.cut import Model, ValueType
from onnxfi.graph.fault_node import Layout

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Rows:
    """A tensor that holds one row an image, laid out as `layout` says; numbers are stored as `dtype`."""

    dtype: str
    layout: Layout

    @property
    def shape(self) -> tuple[int, ...]:
        """One image's row."""
        return self.layout.shape

    @property
    def size(self) -> int:
        """Numbers in one image's row."""
        return int(np.prod(self.layout.shape, dtype=np.int64))

    def split(self, tensor: Array, images: int) -> Array:
        """Rows (images, *shape) of a tensor that the model wrote for so many images."""
        axis, repeat, minor = self.layout.axis, self.layout.repeat, self.layout.minor
        shape = list(tensor.shape)
        if repeat > 1:
            shape[axis : axis + 1] = (repeat, images) if minor else (images, repeat)
        return np.moveaxis(tensor.reshape(shape), axis + minor, 0)


@dataclass(frozen=True)
class Fixed:
    """A tensor that no image and no batch changes."""

    value: Array


@dataclass(frozen=True)
class Counted:
    """Integers (a shape, say) that depend on the number of images alone: `base + step * images`."""

    base: Array
    step: Array


@dataclass(frozen=True)
class Mixed:
    """A tensor whose rows do not keep to themselves; `why` is part of a sentence."""

    why: str


Kind = Rows | Fixed | Counted | Mixed


@dataclass(frozen=True)
class Probe:
    """What was found.

    `batch`: the number of images that every run must have, or None where it is free. `placed`: the bits of a row may
    depend on its place in the batch modulo STEP, so that image i must always stand at a place of i's own remainder.
    That is so where ONNX Runtime's vectors do not divide the model's rows (a mean over 7 x 7 numbers, say), and taken
    to be so in float16, where it shows too rarely to be seen here.
    """

    kinds: Mapping[str, Kind]
    batch: int | None
    placed: bool = False

    def rows(self, tensor: str) -> Rows:
        """The rows of `tensor`. Raises EngineError, with the tensor's name, where it has none."""
        kind = self.kinds.get(tensor)
        if isinstance(kind, Rows):
            return kind
        why = kind.why if isinstance(kind, Mixed) else "it does not depend on the image"
        raise EngineError(f"The model cannot be cut at tensor {tensor!r}: {why}.")

    def value_type(self, tensor: str) -> ValueType:
        """Element type and shape of `tensor` as a sub-graph's input, the batch axis left free."""
        kind = self.kinds[tensor]
        if isinstance(kind, Rows):
            rows: int | str = "rows" if self.batch is None else self.batch * kind.layout.repeat
            return ValueType(kind.layout.elem_type, kind.layout.stacked(rows))
        if isinstance(kind, Fixed):
            return ValueType(ELEM_TYPES[kind.value.dtype.name], kind.value.shape)
        if isinstance(kind, Counted):
            return ValueType(ELEM_TYPES[kind.base.dtype.name], kind.base.shape)
        raise EngineError(f"The model cannot be cut at tensor {tensor!r}: {kind.why}.")


# ONNX TensorProto.DataType by numpy name (onnx itself stays in graph/).
ELEM_TYPES = {
    "float32": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7, "bool": 9,
    "float16": 10, "float64": 11, "uint32": 12, "uint64": 13, "bfloat16": 16,
}  # fmt: skip


def examine(model: Model, folder: Path, input_name: str, images: Array, batch: int | None, what: str) -> Probe:
    """Run `model` on a few images, in a few ways, and see how each of its tensors is made.

    `folder`: where its weights lie, if outside. `images`: (n, *shape), at least 2 * STEP different ones where the batch
    is free, else at least `batch`. `what`: the model in errors.
    """
    kinds: dict[str, Kind] = {}
    placed = False
    batches = _batches(images, batch)
    count = len(batches["first"])
    with np.errstate(all="ignore"):
        for name, seen in every_tensor(model, folder, input_name, batches, images[: batch or 1], what):
            kind = kinds[name] = _kind(seen, count)
            placed = placed or _knows_its_place(kind, seen, count)
    return Probe(kinds, batch, placed and batch is None)


def _batches(images: Array, batch: int | None) -> dict[str, Array]:
    """The ways to run: the first images, the same turned round by one, twice as many where the batch is free, and,
    where there are several, the first of them beside poisoned ones."""
    first = images[np.arange(batch or STEP) % len(images)]
    batches = {"first": first, "turned": np.roll(first, 1, axis=0)}
    if batch is None:
        batches["longer"] = images[: 2 * STEP]
    if len(first) > 1:
        batches["poisoned"] = _poisoned(first)
    return batches


def _poisoned(images: Array) -> Array:
    bad = images.copy()
    bad[1:] = np.nan if np.issubdtype(images.dtype, np.floating) else np.iinfo(images.dtype).max
    return bad


def _kind(seen: Mapping[str, Array], images: int) -> Kind:
    """The kind of a tensor, by its value in each of the ways to run; `images` are in the first."""
    first, turned, longer, poisoned = seen["first"], seen["turned"], seen.get("longer"), seen.get("poisoned")
    if first.dtype.name not in ELEM_TYPES:
        return Mixed(f"its type {first.dtype} is not one that onnxfi treats")
    if images == 1:
        return _lonely(first)
    mixed = None
    for layout in _layouts(first, images):
        rows = Rows(first.dtype.name, layout)
        if longer is not None and not _grows(first.shape, longer.shape, layout, images):
            continue
        split = rows.split(first, images)
        if not _turns(rows, first, turned, images, _near):
            continue
        if longer is not None and not _near(rows.split(longer, 2 * images)[:images], split):
            continue
        if poisoned is not None and not _same(rows.split(poisoned, images)[0], split[0]):
            mixed = Mixed("one image's numbers in it depend on the other images of the batch")
            continue
        return rows
    still = _same(first, turned) and (poisoned is None or _same(first, poisoned))
    if mixed is None and still and (longer is None or _same(first, longer)):
        return Fixed(first)
    small = np.issubdtype(first.dtype, np.integer) and first.size < 64
    if mixed is None and still and small and longer is not None and first.shape == longer.shape:
        step = (longer - first) // images
        return Counted(first - images * step, step)
    return mixed or Mixed("its rows do not belong to one image each")


def _knows_its_place(kind: Kind, seen: Mapping[str, Array], images: int) -> bool:
    """Whether the bits of a row may depend on its place in the batch."""
    if not isinstance(kind, Rows) or images == 1:
        return False
    return kind.dtype == "float16" or not _turns(kind, seen["first"], seen["turned"], images, _same)


def _lonely(tensor: Array) -> Kind:
    """With one image a run, the whole tensor is that image's row."""
    if tensor.ndim == 0:
        return Mixed("it is a single number that changes with the image")
    return Rows(tensor.dtype.name, _layout(tensor, 0, tensor.shape[0]))


def _layouts(tensor: Array, images: int) -> Iterator[Layout]:
    for axis, size in enumerate(tensor.shape):
        if size and size % images == 0:
            yield _layout(tensor, axis, size // images)
            if size > images:
                yield _layout(tensor, axis, size // images, minor=True)


def _layout(tensor: Array, axis: int, repeat: int, minor: bool = False) -> Layout:
    kept = (repeat,) if repeat > 1 else ()
    row = (*tensor.shape[:axis], *kept, *tensor.shape[axis + 1 :])
    return Layout(ELEM_TYPES[tensor.dtype.name], row, axis, repeat, minor)


def _grows(before: tuple[int, ...], after: tuple[int, ...], layout: Layout, images: int) -> bool:
    """Whether twice the images make the tensor twice as long on its batch axis, and change nothing else."""
    longer = layout.repeat * 2 * images
    return after == tuple(longer if axis == layout.axis else d for axis, d in enumerate(before))


def _turns(rows: Rows, first: Array, turned: Array, images: int, alike: Callable[[Array, Array], bool]) -> bool:
    """Whether the rows of `turned`, where the images were turned round by one, are those of `first`, turned."""
    return alike(rows.split(turned, images), np.roll(rows.split(first, images), 1, axis=0))


def _near(a: Array, b: Array) -> bool:
    """Equal but for rounding, which may depend on a row's place. Images that mix a little are found by `_poisoned`."""
    if _same(a, b):
        return True
    if a.shape != b.shape or not np.issubdtype(a.dtype, np.floating):
        return False
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    reach = 64 * float(np.finfo(a.dtype).eps) * max(1.0, float(np.abs(wide_b).max(initial=0.0)))
    return bool((np.abs(wide_a - wide_b) <= reach).all())


def _same(a: Array, b: Array) -> bool:
    return a.shape == b.shape and a.tobytes() == b.tobytes()
