"""The data room's door: any number of files and folders in, one read-only `Dataset` out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from onnxfi.errors import DataError
from onnxfi.study.pixels import Array, Layout, frame_of, shape_words
from onnxfi.study.preprocess import PRESETS, InputSpec, Preprocessing, check_spec, fit, made_up_shape, resolve
from onnxfi.study.raw import Labels, Raw
from onnxfi.study.reading import read
from onnxfi.study.sampling import Permutation

__all__ = ["PRESETS", "Dataset", "InputSpec", "Preprocessing", "load_dataset", "synthetic_dataset"]

Rows = npt.NDArray[np.intp]

_BLOCK = 1 << 21  # numbers converted at a time
_STREAM = -1  # faults are drawn from the streams from 0 on


@dataclass(frozen=True)
class Dataset:
    """Images as the model reads them, with what is known about them. Arrays are read-only.

    images         (N, *shape), C-contiguous, of the model's dtype, finite
    labels         (N,) int64 class numbers, or None
    classes        names by class number (a class without a known name is called by its number), or None
    names          file names by image where images come from files, or None
    source         words: where from, how many
    synthetic      made up: rates on them say nothing about real images
    preprocessing  as applied, every default settled
    layout         'NCHW', 'NHWC', 'NHW', or 'as given' where the input is no image
    sha256         of dtype, shape and bytes of the images as fed, and of the labels; little-endian
    """

    images: Array
    labels: Labels | None
    classes: tuple[str, ...] | None
    names: tuple[str, ...] | None
    source: str
    synthetic: bool
    preprocessing: Preprocessing
    layout: Layout
    sha256: str

    def __len__(self) -> int:
        return len(self.images)


def load_dataset(
    paths: Sequence[Path | str],
    spec: InputSpec,
    preprocessing: Preprocessing,
    *,
    images: int | None = None,
    seed: int = 0,
    classes: int | None = None,
) -> Dataset:
    """Read, join, choose and fit images.

    paths    .npz, .npy, image files and folders, joined in order
    images   how many to take: a seeded choice, proportional to the classes where labels are known, in the files' order
    classes  the model's number of outputs; labels outside raise DataError

    DataError: everything that keeps these files from being fed to this model, in one sentence.
    """
    check_spec(spec)
    if not paths:
        raise DataError("No images are given; name an .npz, an .npy, an image file or a folder.")
    raws = [read(Path(path)) for path in paths]
    labels = _join_labels(raws, classes)
    total = sum(map(len, raws))
    if images is not None and not 1 <= images <= total:
        raise DataError(f"--images is {images}, but {_names(raws)} holds {total} images; give 1 to {total}.")
    chosen = np.arange(total) if images in (None, total) else choose(total, labels, images or total, seed)
    settled = _resolve_all(raws, spec, preprocessing)
    names = [name for raw in raws for name in raw.names or ()]
    taken = "" if images in (None, total) else f"; {images} of them, seed {seed}"
    return _dataset(
        _fit_all(raws, chosen, settled, spec),
        None if labels is None else labels[chosen],
        _join_classes(raws, classes),
        tuple(names[row] for row in chosen) if len(names) == total else None,
        f"{', '.join(raw.path.name + raw.note for raw in raws)}: {total} images{taken}",
        False,
        settled,
        spec,
    )


def synthetic_dataset(
    count: int, spec: InputSpec, seed: int = 0, preprocessing: Preprocessing | None = None
) -> Dataset:
    """Made-up images: standard normal for floats; integers uniform over 8-bit dtypes, over 0..255 for wider ones.

    A model that takes channels last gets the same images, turned, as one that takes channels first. Of `preprocessing`
    only crop or resize mean something, the size where the model leaves it free.

    DataError: no positive count, or an input size that stays free.
    """
    check_spec(spec)
    if count < 1:
        raise DataError(f"{count} synthetic images are asked for; give at least 1.")
    size = made_up_shape(preprocessing or Preprocessing(), spec)
    last = frame_of(size, spec.layout).layout == "NHWC"
    shape = (count, size[2], *size[:2]) if last else (count, *size)
    dtype = np.dtype(spec.dtype)
    _check_seed(seed)
    # NumPy's legacy generator, because its streams are frozen (NEP 19): no new release changes a study.
    draw = np.random.RandomState([seed & 0xFFFFFFFF, seed >> 32])
    if dtype.kind == "f":
        images: Array = draw.standard_normal(shape).astype(dtype)
    else:
        low, high = (np.iinfo(dtype).min, np.iinfo(dtype).max) if dtype.itemsize == 1 else (0, 255)
        images = draw.randint(low, high + 1, shape).astype(dtype)
    images = np.ascontiguousarray(images.transpose(0, 2, 3, 1)) if last else images
    source = f"{count} synthetic images, seed {seed}"
    return _dataset(images, None, None, None, source, True, Preprocessing(scale=1.0), spec)


def choose(total: int, labels: Labels | None, count: int, seed: int) -> Rows:
    """`count` of `total` rows, ascending; with labels, each class in proportion.

    A class gets its share rounded down; what is left goes one each to the largest remainders, and among equals to the
    class that comes first in the shuffle.
    """
    _check_seed(seed)
    shuffled = Permutation(total, seed, _STREAM).at(np.arange(total)).astype(np.intp)
    if labels is None:
        return np.sort(shuffled[:count])
    _, first, kinds, sizes = np.unique(labels[shuffled], return_index=True, return_inverse=True, return_counts=True)
    share, remainder = np.divmod(sizes * count, total)
    order = np.lexsort((first, -remainder))
    share[order[: count - share.sum()]] += 1
    # The k-th image of a class, in shuffled order, is taken while k < the class's share.
    by_class = np.argsort(kinds, kind="stable")
    rank = np.empty(total, np.intp)
    rank[by_class] = np.arange(total) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(shuffled[rank < share[kinds]])


def _check_seed(seed: int) -> None:
    if not 0 <= seed < 1 << 64:
        raise DataError(f"The seed is {seed}; give a whole number from 0 to 2**64 - 1.")


def _names(raws: Sequence[Raw]) -> str:
    return ", ".join(str(raw.path) for raw in raws)


def _join_labels(raws: Sequence[Raw], classes: int | None) -> Labels | None:
    labelled = [raw for raw in raws if raw.labels is not None]
    if not labelled:
        return None
    bare = next((raw for raw in raws if raw.labels is None), None)
    if bare is not None:
        raise DataError(
            f"{bare.path} has no labels, but {labelled[0].path} has; give labels for all files or for none."
        )
    for raw in labelled:
        _check_range(raw, classes)
    return np.concatenate([raw.labels for raw in labelled if raw.labels is not None])


def _check_range(raw: Raw, classes: int | None) -> None:
    assert raw.labels is not None
    outside = (raw.labels < 0) | (raw.labels >= (classes or np.iinfo(np.int64).max))
    if outside.any():
        row = int(outside.argmax())
        wanted = "classes count from 0" if classes is None else f"the model has {classes} outputs (0 to {classes - 1})"
        raise DataError(
            f"{raw.label_places[row]} is {raw.labels[row]}, but {wanted}; "
            "correct the label, or give the images this model was trained for."
        )


def _join_classes(raws: Sequence[Raw], outputs: int | None) -> tuple[str, ...] | None:
    joined: dict[int, str] = {}
    for raw in raws:
        for number, name in raw.classes.items():
            if joined.setdefault(number, name) != name:
                raise DataError(
                    f"{raw.path} calls class {number} {name!r}, but the files before it call it {joined[number]!r}; "
                    "give files that number their classes alike."
                )
    if not joined:
        return None
    return tuple(joined.get(number, str(number)) for number in range(max(max(joined) + 1, outputs or 0)))


def _resolve_all(raws: Sequence[Raw], spec: InputSpec, asked: Preprocessing) -> Preprocessing:
    settled = resolve(asked, spec, raws[0].dtype, str(raws[0].path))
    for raw in raws[1:]:
        if resolve(asked, spec, raw.dtype, str(raw.path)) != settled:
            raise DataError(
                f"{raw.path} holds {raw.dtype} images and {raws[0].path} {raws[0].dtype}, "
                "which are scaled differently; give --scale, or files of one dtype."
            )
    return settled


def _blocks(raws: Sequence[Raw], chosen: Rows) -> Iterator[tuple[Raw, Rows]]:
    """The chosen rows as (file, rows in it): one image of a folder at a time, about `_BLOCK` numbers of an array."""
    start = 0
    for raw in raws:
        rows = chosen[(chosen >= start) & (chosen < start + len(raw))] - start
        start += len(raw)
        step = 1 if isinstance(raw.images, tuple) else max(1, _BLOCK * len(raw) // max(1, raw.images.size))
        for at in range(0, len(rows), step):
            yield raw, rows[at : at + step]


def _fit_all(raws: Sequence[Raw], chosen: Rows, pre: Preprocessing, spec: InputSpec) -> Array:
    out: Array | None = None
    filled, first = 0, ""
    for raw, rows in _blocks(raws, chosen):

        def where(row: int, raw: Raw = raw, rows: Rows = rows) -> str:
            return raw.where(int(rows[row]))

        block = fit(raw.block(rows, spec.frame.channels), pre, spec, where)
        if out is None:
            first = where(0)
            out = np.empty((len(chosen), *block.shape[1:]), spec.dtype)
        if block.shape[1:] != out.shape[1:]:
            raise DataError(
                f"{where(0)} has the shape {shape_words(block.shape[1:])}, but {first} {shape_words(out.shape[1:])}; "
                "use --resize HEIGHTxWIDTH, or --resize SIDE --crop SIDE."
            )
        out[filled : filled + len(block)] = block
        filled += len(block)
    assert out is not None
    return out


def _dataset(
    images: Array,
    labels: Labels | None,
    classes: tuple[str, ...] | None,
    names: tuple[str, ...] | None,
    source: str,
    synthetic: bool,
    preprocessing: Preprocessing,
    spec: InputSpec,
) -> Dataset:
    images.flags.writeable = False
    if labels is not None:
        labels.flags.writeable = False
    digest = _sha256(images, labels)
    return Dataset(images, labels, classes, names, source, synthetic, preprocessing, spec.frame.layout, digest)


def _sha256(images: Array, labels: Labels | None) -> str:
    digest = hashlib.sha256(f"{images.dtype.name} {images.shape}\n".encode())
    little = images.dtype.newbyteorder("<")
    for image in images:
        digest.update(np.ascontiguousarray(image, little).data)
    digest.update(b"\nno labels" if labels is None else b"\nlabels " + labels.astype("<i8").tobytes())
    return digest.hexdigest()
