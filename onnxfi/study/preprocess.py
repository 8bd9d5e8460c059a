"""Fitting images to a model's input, in this order:

resize -> crop -> scale -> minus mean -> over std -> the model's dtype -> the model's layout
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from onnxfi.errors import DataError
from onnxfi.study.pixels import (
    Array,
    Frame,
    Size,
    Where,
    check_size,
    frame_of,
    from_nhwc,
    pair,
    shape_words,
    size_words,
    sized,
    to_nhwc,
)

_FED = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


@dataclass(frozen=True)
class Preprocessing:
    """What is done to images before the model sees them; part of a study's identity.

    scale   multiplies first. None: 1/255 for uint8 images, 1 for floats and for models that read integers
    mean    subtracted next: one number, or one a channel
    std     divides last: one number, or one a channel
    resize  bilinear: the shorter side, or exactly (height, width)
    crop    from the centre, after resize: a square's side, or (height, width)
    """

    scale: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    resize: Size | None = None
    crop: Size | None = None

    def __str__(self) -> str:
        """'scale 0.00392157, mean 0.4914 0.4822 0.4465': the fields that do something, for people."""
        words = [] if self.scale in (None, 1) else [f"scale {self.scale:.6g}"]
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            words += [] if numbers is None else [f"{name} " + " ".join(f"{number:.6g}" for number in numbers)]
        for name, size in (("resize", self.resize), ("crop", self.crop)):
            words += [] if size is None else [f"{name} {size_words(size) if name == 'crop' else _resize_words(size)}"]
        return ", ".join(words) or "none"


def _resize_words(size: Size) -> str:
    return str(size) if isinstance(size, int) else f"{size[0]}x{size[1]}"


PRESETS: dict[str, Preprocessing] = {
    "cifar10": Preprocessing(mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010)),
    "cifar100": Preprocessing(
        mean=(0.5070751592371323, 0.48654887331495095, 0.4409178433670343),
        std=(0.2673342858792401, 0.2564384629170883, 0.27615047132568404),
    ),
    "gtsrb": Preprocessing(mean=(0.3403, 0.3121, 0.3214), std=(0.2724, 0.2608, 0.2669)),
    "imagenet": Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), resize=256, crop=224),
}
"""Well-known preprocessings of RGB pixels.

cifar10, cifar100 and gtsrb are those of the dnn-benchmarks zoo (github.com/cad-polito-it/dnn-benchmarks), with which
its fault lists were run; gtsrb sets no size, because networks differ in it (the zoo's read 50x50). imagenet is that of
torchvision's classification models. Other networks were trained with other numbers: look at where yours comes from.
"""


@dataclass(frozen=True)
class InputSpec:
    """What the model reads.

    shape     of one image, without the batch axis; None where the model leaves a size free
    dtype     NumPy's name: 'float32', 'int8', ...
    layout    'NCHW' or 'NHWC' where the caller knows it; None: told from the shape, see `pixels.frame_of`
    metadata  preprocessing recorded in the model; each field that the caller leaves open is taken from here
    """

    shape: tuple[int | None, ...]
    dtype: str
    layout: Literal["NCHW", "NHWC"] | None = None
    metadata: Preprocessing | None = None

    @property
    def frame(self) -> Frame:
        return frame_of(self.shape, self.layout)


def check_spec(spec: InputSpec) -> None:
    """DataError where the model's input is of a dtype that cannot be fed."""
    if spec.dtype not in _FED:
        raise DataError(f"The model's input is {spec.dtype}, but images can be fed as {', '.join(_FED)} only.")


def resolve(asked: Preprocessing, spec: InputSpec, dtype: np.dtype[Any], where: str) -> Preprocessing:
    """Settle every open field for images of `dtype`: the caller's, else the model's metadata, else the default.

    Metadata's scale is for pixels: float images count as scaled already. DataError where no default is safe, or where
    an option cannot be meant.
    """
    known = spec.metadata or Preprocessing()
    settled = Preprocessing(
        scale=asked.scale if asked.scale is not None else _default_scale(known, spec, dtype, where),
        mean=asked.mean if asked.mean is not None else known.mean,
        std=asked.std if asked.std is not None else known.std,
        resize=asked.resize if asked.resize is not None else known.resize,
        crop=asked.crop if asked.crop is not None else known.crop,
    )
    _check_numbers(settled)
    _check_sizes(settled, spec.frame)
    return settled


def _default_scale(known: Preprocessing, spec: InputSpec, dtype: np.dtype[Any], where: str) -> float:
    reads_integers = np.dtype(spec.dtype).kind in "iu"
    if dtype.kind == "f" and not reads_integers:
        return 1.0
    if dtype.kind != "f" and known.scale is not None:
        return known.scale
    if dtype.kind in "iu" and reads_integers:
        return 1.0
    if dtype == np.uint8:
        return 1 / 255
    usual = "255 for images in 0..1" if dtype.kind == "f" else f"{1 / 255:.17g} for images in 0..255"
    raise DataError(
        f"{where} holds {dtype} images and the model wants {spec.dtype}, so their scale cannot be guessed; "
        f"give --scale ({usual}, 1 to leave them as they are)."
    )


def _check_numbers(pre: Preprocessing) -> None:
    scale = () if pre.scale is None else (pre.scale,)
    for option, numbers in (("--scale", scale), ("--mean", pre.mean or ()), ("--std", pre.std or ())):
        for number in numbers:
            if not math.isfinite(number) or (number <= 0 and option != "--mean"):
                kind = "finite" if option == "--mean" else "positive"
                raise DataError(f"{option} holds {number:g}; give {kind} numbers.")


def made_up_shape(asked: Preprocessing, spec: InputSpec) -> tuple[int, ...]:
    """The shape of a made-up image: a height and a width that the model leaves free are `asked.crop`, else `resize`.

    DataError where a size stays free, or the option cannot be meant.
    """
    _check_sizes(asked, spec.frame)
    size, frame, shape = asked.crop or asked.resize, spec.frame, spec.shape
    if size is not None:
        height, width = pair(size)
        shape = replace(frame, height=frame.height or height, width=frame.width or width).shape
    if None in shape:
        raise DataError(
            f"The model's input {shape_words(shape)} leaves a size free; give --resize HEIGHTxWIDTH, or real images."
        )
    return tuple(length for length in shape if length is not None)


def _check_sizes(pre: Preprocessing, frame: Frame) -> None:
    for option, size in (("--resize", pre.resize), ("--crop", pre.crop)):
        if size is None:
            continue
        if frame.layout == "as given":
            raise DataError(f"{option} needs a model that reads images, but this one's input has no height and width.")
        if min(pair(size)) < 1:
            raise DataError(f"{option} is {size_words(size)}; give a positive number of pixels.")


def fit(images: Array, pre: Preprocessing, spec: InputSpec, where: Where) -> Array:
    """Images (n, ...) of one file, in any layout, to (n, *shape) of the model's dtype.

    `pre` is settled by `resolve`. The arithmetic is float32 step by step (float64 for float64 and integer models), as
    the frameworks' own pipelines do it; integer models get rounded numbers.
    DataError: another shape than the model's, or numbers that its dtype cannot hold.
    """
    frame = spec.frame
    if frame.layout == "as given":
        _check_shape(images, spec, where)
        return _to_dtype(_numbers(images, pre, spec, 1), spec.dtype, where)
    pixels = sized(to_nhwc(images, frame, where), pre.resize, pre.crop, where)
    check_size(pixels, frame, pre.resize, pre.crop, where)
    return from_nhwc(_to_dtype(_numbers(pixels, pre, spec, pixels.shape[3]), spec.dtype, where), frame)


def _check_shape(images: Array, spec: InputSpec, where: Where) -> None:
    shape = images.shape[1:]
    if len(shape) != len(spec.shape) or any(b not in (None, a) for a, b in zip(shape, spec.shape, strict=True)):
        raise DataError(
            f"{where(0)} has the shape {shape_words(shape)}, but the model wants {shape_words(spec.shape)}; "
            "reshape the array."
        )


def _numbers(images: Array, pre: Preprocessing, spec: InputSpec, channels: int) -> Array:
    """(images * scale - mean) / std over the last axis; untouched where that is the identity."""
    scale = 1.0 if pre.scale is None else pre.scale
    if scale == 1 and pre.mean is None and pre.std is None:
        return images
    work = np.float32 if spec.dtype in ("float32", "float16") else np.float64
    # One rounding only, so that pixel * (1/255) is the float32 nearest to pixel / 255: the frameworks divide.
    values: Array = images.astype(work) if scale == 1 else (images * np.float64(scale)).astype(work)
    if pre.mean is not None:
        values -= _per_channel("--mean", pre.mean, channels, work)
    if pre.std is not None:
        values /= _per_channel("--std", pre.std, channels, work)
    return values


def _per_channel(option: str, numbers: tuple[float, ...], channels: int, dtype: type[np.floating[Any]]) -> Array:
    if len(numbers) not in (1, channels):
        also = "" if channels == 1 else f" or {channels}"
        raise DataError(
            f"{option} holds {len(numbers)} numbers, but the model reads {channels} channel(s); give 1{also}."
        )
    return np.asarray(numbers, dtype)


def _to_dtype(values: Array, dtype: str, where: Where) -> Array:
    if np.dtype(dtype).kind in "iu":
        return _to_integers(values, dtype, where)
    with np.errstate(over="ignore"):
        fitted = values.astype(dtype, copy=False)
    finite = np.isfinite(fitted).reshape(len(fitted), -1).all(axis=1)
    if not finite.all():
        raise DataError(
            f"{where(int(finite.argmin()))} overflows the model's {dtype} after preprocessing; use --scale."
        )
    return fitted


def _to_integers(values: Array, dtype: str, where: Where) -> Array:
    whole = np.rint(values) if values.dtype.kind == "f" else values
    limits = np.iinfo(dtype)
    rows = whole.reshape(len(whole), -1)
    low, high = rows.min(axis=1), rows.max(axis=1)
    # Python integers: a float64 bound would round 2**63 - 1 up.
    for row, (least, most) in enumerate(zip(low.tolist(), high.tolist(), strict=True)):
        if least < limits.min or most > limits.max:
            hint = (
                "--scale 1 --mean 128 makes int8 of 8-bit pixels" if dtype == "int8" else "use --scale, --mean, --std"
            )
            raise DataError(
                f"{where(row)} reaches {least:g} to {most:g} after preprocessing, but the model's {dtype} holds "
                f"{limits.min} to {limits.max}; {hint}."
            )
    return whole.astype(dtype)
