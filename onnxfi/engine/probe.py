"""How each tensor of a model is made of images: found by running it, not by reading shapes.

A few images at a time, turned round, and twice as many: a tensor splits into rows if its rows turn round with the
images and do not change with their number. What does not split is named; it matters only where a cut needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxfi.engine.session import STEP, Session
from onnxfi.errors import EngineError
from onnxfi.graph.cut import ValueType
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


_BYTES_A_LOOK = 192 << 20


def probe(session: Session, input_name: str, images: Array, tensors: tuple[str, ...], batch: int | None) -> Probe:
    """Run the whole model (every one of `tensors` an output) on a few images and see how each tensor is made.

    `images`: (n, *shape), at least 2 * STEP different ones where the batch is free, else at least `batch`.
    """

    kinds: dict[str, Kind] = {}
    placed = False
    for group in _groups(session, input_name, images[: batch or 1], tensors):
        found, turned = _look(session, input_name, images, group, batch)
        kinds.update(found)
        placed = placed or turned
    return Probe(kinds, batch, placed and batch is None)


def _groups(session: Session, input_name: str, images: Array, tensors: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Neighbouring tensors that are small enough to be kept together for all runs of a look."""
    values = session.run({input_name: np.ascontiguousarray(images)}, tensors)
    sizes = [value.nbytes // len(images) * 5 * STEP for value in values]
    del values
    start, total = 0, 0
    for i, size in enumerate(sizes):
        if total and total + size > _BYTES_A_LOOK:
            yield tensors[start:i]
            start, total = i, 0
        total += size
    yield tensors[start:]


def _look(
    session: Session, input_name: str, images: Array, tensors: tuple[str, ...], batch: int | None
) -> tuple[dict[str, Kind], bool]:
    """Kinds of the input and of `tensors`, and whether the bits of any of their rows depend on the row's place."""

    def run(rows: Array) -> dict[str, Array]:
        values = session.run({input_name: np.ascontiguousarray(rows)}, tensors)
        return {input_name: rows, **dict(zip(tensors, values, strict=True))}

    with np.errstate(all="ignore"):
        some = images[np.arange(batch or STEP) % len(images)]
        first, turned = run(some), run(np.roll(some, 1, axis=0))
        other = run(images[: 2 * STEP]) if batch is None else None
        poisoned = run(_poisoned(some)) if len(some) > 1 else None
    kinds, placed = {}, False
    for name, value in first.items():
        longer = None if other is None else other[name]
        spoilt = None if poisoned is None else poisoned[name]
        kind = kinds[name] = _kind(value, turned[name], longer, spoilt, len(some))
        if isinstance(kind, Rows) and len(some) > 1:
            placed = placed or kind.dtype == "float16" or not _turns(kind, value, turned[name], len(some), _same)
    return kinds, placed


def _poisoned(images: Array) -> Array:
    bad = images.copy()
    bad[1:] = np.nan if np.issubdtype(images.dtype, np.floating) else np.iinfo(images.dtype).max
    return bad


def _kind(first: Array, turned: Array, other: Array | None, poisoned: Array | None, images: int) -> Kind:
    if first.dtype.name not in ELEM_TYPES:
        return Mixed(f"its type {first.dtype} is not one that onnxfi treats")
    if images == 1:
        return _lonely(first)
    mixed = None
    for layout in _layouts(first, images):
        rows = Rows(first.dtype.name, layout)
        if other is not None and not _grows(first.shape, other.shape, layout, images):
            continue
        split = rows.split(first, images)
        if not _turns(rows, first, turned, images, _near):
            continue
        if other is not None and not _near(rows.split(other, 2 * images)[:images], split):
            continue
        if poisoned is not None and not _same(rows.split(poisoned, images)[0], split[0]):
            mixed = Mixed("one image's numbers in it depend on the other images of the batch")
            continue
        return rows
    still = _same(first, turned) and (poisoned is None or _same(first, poisoned))
    if mixed is None and still and (other is None or _same(first, other)):
        return Fixed(first)
    small = np.issubdtype(first.dtype, np.integer) and first.size < 64
    if mixed is None and still and small and other is not None and first.shape == other.shape:
        step = (other - first) // images
        return Counted(first - images * step, step)
    return mixed or Mixed("its rows do not belong to one image each")


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
