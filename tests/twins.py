"""One small network as several exporters would write it: the same weights, another graph each time.

conv 3x3 with BatchNormalization, depthwise conv, two branches of 1x1 convs that meet in an Add, MaxPool, Flatten, two
dense layers. Seeded weights; the statistics of BatchNormalization differ from channel to channel.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
from corpus.build import Build

Array = npt.NDArray[Any]
SIZE, CLASSES = 8, 5
UNITS = (("first", 3, 6, 3, 1), ("depth", 6, 6, 3, 6), ("left", 6, 7, 1, 1), ("right", 6, 7, 1, 1))
"""name, channels in and out, kernel, groups"""
LAYERS = ("first", "depth", "left", "right", "hidden", "last")


@dataclass(frozen=True)
class Style:
    """How an exporter writes it.

    norm     kept: BatchNormalization; folded: into the weights; ops: as Sub, Mul and Add
    nhwc     the input has channels last, and so has what Flatten reads
    dense    'gemm', (out, in) with transB; 'matmul', (in, out) and an Add
    behind   kernels are stored HWIO, a Transpose before each Conv
    swapped  the branch that comes second in the others comes first
    """

    norm: Literal["kept", "folded", "ops"] = "kept"
    nhwc: bool = False
    dense: Literal["gemm", "matmul"] = "gemm"
    behind: bool = False
    swapped: bool = False


def weights(seed: int = 0) -> dict[str, Array]:
    """All parameters by name, float32, as PyTorch lays them out."""
    rng = np.random.default_rng(seed)
    made: dict[str, Array] = {}
    for name, into, out, kernel, groups in UNITS:
        shape = (out, into // groups, kernel, kernel)
        made[f"{name}.weight"] = rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
        made[f"{name}.gamma"] = rng.uniform(0.5, 1.5, out) * rng.choice([-1, 1], out)
        made[f"{name}.beta"] = rng.standard_normal(out) * 0.2
        made[f"{name}.mean"] = rng.standard_normal(out) * 0.3
        made[f"{name}.var"] = rng.uniform(0.5, 1.5, out)
    flat = 7 * (SIZE // 2) ** 2
    for name, into, out in (("hidden", flat, 11), ("last", 11, CLASSES)):
        made[f"{name}.weight"] = rng.standard_normal((out, into)) * np.sqrt(2 / into)
        made[f"{name}.bias"] = rng.standard_normal(out) * 0.1
    return {name: value.astype(np.float32) for name, value in made.items()}


def twin(path: Path, w: dict[str, Array], style: Style = Style(), dtype: str = "float32") -> Path:
    """Write the network in a style, with names that an exporter made up: nothing can be told by them."""
    shape = (SIZE, SIZE, 3) if style.nhwc else (3, SIZE, SIZE)
    b = Build(f"twin-{path.stem}", shape=shape, dtype=dtype)
    x = b.op("Transpose", "image", perm=[0, 3, 1, 2]) if style.nhwc else "image"
    x = _unit(b, x, w, "first", style)
    x = _unit(b, x, w, "depth", style)
    branches = ("right", "left") if style.swapped else ("left", "right")
    ends = [_unit(b, x, w, name, style) for name in branches]
    x = b.op("MaxPool", b.op("Add", *ends), kernel_shape=[2, 2], strides=[2, 2])
    if style.nhwc:
        x = b.op("Transpose", x, perm=[0, 2, 3, 1])
    x = b.op("Flatten", x, axis=1)
    hidden = w["hidden.weight"]
    if style.nhwc:
        half = SIZE // 2
        hidden = hidden.reshape(-1, 7, half, half).transpose(0, 2, 3, 1).reshape(len(hidden), -1)
    x = b.op("Relu", _dense(b, x, hidden, w["hidden.bias"], style))
    path.write_bytes(b.model(_dense(b, x, w["last.weight"], w["last.bias"], style)).SerializeToString())
    onnx.checker.check_model(str(path))
    return path


def _unit(b: Build, x: str, w: dict[str, Array], name: str, style: Style) -> str:
    weight = w[f"{name}.weight"]
    groups = {unit[0]: unit[4] for unit in UNITS}[name]
    scale = w[f"{name}.gamma"] / np.sqrt(w[f"{name}.var"] + 1e-5)
    shift = w[f"{name}.beta"] - w[f"{name}.mean"] * scale
    more = []
    if style.norm == "folded":
        weight = weight * scale.reshape(-1, 1, 1, 1)
        more = [_keep(b, shift)]
    if style.behind:
        kernel = b.op("Transpose", _keep(b, weight.transpose(2, 3, 1, 0)), perm=[3, 2, 0, 1])
    else:
        kernel = _keep(b, weight)
    edge = weight.shape[2] // 2
    y = b.op("Conv", x, kernel, *more, pads=[edge] * 4, group=groups)
    if style.norm == "kept":
        names = [_keep(b, w[f"{name}.{role}"]) for role in ("gamma", "beta", "mean", "var")]
        y = b.op("BatchNormalization", y, *names, epsilon=1e-5)
    elif style.norm == "ops":  # channels last, as a framework of that kind writes it
        y = b.op("Transpose", y, perm=[0, 2, 3, 1])
        y = b.op("Sub", y, _keep(b, w[f"{name}.mean"]))
        y = b.op("Mul", y, _keep(b, scale.reshape(1, 1, 1, -1)))
        y = b.op("Add", y, _keep(b, w[f"{name}.beta"]))
        y = b.op("Transpose", y, perm=[0, 3, 1, 2])
    return b.op("Relu", y)


def _dense(b: Build, x: str, weight: Array, bias: Array, style: Style) -> str:
    if style.dense == "gemm":
        return b.op("Gemm", x, _keep(b, weight), _keep(b, bias), transB=1)
    return b.op("Add", b.op("MatMul", x, _keep(b, weight.T)), _keep(b, bias))


def _keep(b: Build, value: Array) -> str:
    return b.keep(np.ascontiguousarray(value.astype(b.dtype)))


def images(path: Path, count: int, seed: int = 0) -> Path:
    """An .npz of random images, channels last, with labels."""
    rng = np.random.default_rng(seed)
    pixels = rng.standard_normal((count, SIZE, SIZE, 3)).astype(np.float32)
    np.savez(path, images=pixels, labels=rng.integers(0, CLASSES, count))
    return path
