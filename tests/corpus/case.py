"""What a case of the corpus is, and the register that every module of the corpus writes its cases into."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

CLASSES = 5


@dataclass(frozen=True)
class Case:
    """One small model: `build` makes it afresh (same bytes each time); `layers` counts the ops that hold a weight.

    Tags that say how it must be treated: `refused` (no study of this model at all), `mixes-rows` (one row's answer
    depends on its neighbours or its place, so that no study may start), `fixed-batch` (the file names a batch size),
    `stuck-batch` (and nothing may free it), `four` (ONNX Runtime's rows are the same in batches of a multiple of four
    only), `placed` (and only at places in the batch that agree modulo four), `uncuttable` (a tensor on the way holds no
    row an image), `ties` (rounded logits, some of them equal).
    Every other tag names what the case is about.
    """

    name: str
    about: str
    build: Callable[[], onnx.ModelProto]
    layers: int
    tags: frozenset[str] = frozenset()
    output: str | None = None

    def model(self) -> onnx.ModelProto:
        """The model, built afresh: the caller may change it."""
        return self.build()


CASES: dict[str, Case] = {}


def case(
    layers: int, *tags: str, output: str | None = None
) -> Callable[[Callable[[], onnx.ModelProto]], Callable[[], onnx.ModelProto]]:
    """Register the decorated builder under its own name; the first line of its docstring says what it is about."""

    def register(build: Callable[[], onnx.ModelProto]) -> Callable[[], onnx.ModelProto]:
        about = (build.__doc__ or "").strip().splitlines()[0]
        enter(build.__name__, about, build, layers, tags, output)
        return build

    return register


def enter(
    name: str,
    about: str,
    build: Callable[[], onnx.ModelProto],
    layers: int,
    tags: Iterable[str] = (),
    output: str | None = None,
) -> None:
    """Register a builder under a name, which must be new."""
    if name in CASES:
        raise ValueError(f"two cases of the corpus are called {name}")
    CASES[name] = Case(name, about, build, layers, frozenset(tags), output)


def images(case: Case, n: int, seed: int = 0) -> npt.NDArray[np.generic]:
    """`n` random images of the shape and dtype that the case's input asks for.

    Floats are normal, with a scale and an offset of their own in each image, so that images differ in their pooled
    features too; integers are uniform.
    """
    value = case.model().graph.input[0].type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(value.elem_type)
    shape = (n, *(d.dim_value for d in value.shape.dim[1:]))
    rng = np.random.default_rng(seed)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
    own = (n, shape[1], *(1 for _ in shape[2:]))
    return (rng.standard_normal(shape) * rng.uniform(0.5, 1.5, own) + rng.standard_normal(own)).astype(dtype)


def save(case: Case, folder: str | Path) -> Path:
    """Write the case's model into `folder` and give back the file's path."""
    path = Path(folder) / f"{case.name}.onnx"
    path.write_bytes(case.model().SerializeToString(deterministic=True))
    return path
