"""Reading images and labels from .npz, .npy, image files and folders, before anything is fitted to a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from onnxfi.errors import DataError
from onnxfi.study.folders import read_folder
from onnxfi.study.raw import IMAGE_SUFFIXES, Array, Labels, Raw, reason

PAIRS = (
    ("images", "labels"),
    ("x_test", "y_test"),
    ("test_images", "test_labels"),
    ("x", "y"),
    ("data", "targets"),
    ("test_x", "test_y"),
    ("imgs", "labels"),
    ("image", "label"),
    ("inputs", "targets"),
    ("input", "target"),
    ("x_val", "y_val"),
    ("x_train", "y_train"),
    ("arr_0", "arr_1"),
)
"""Names of images and labels in an .npz, in order of preference; capitals do not matter."""

LABEL_KEYS = ("labels", "label", "y_test", "y", "targets", "target", "class_ids")
CLASS_KEYS = ("classes", "class_names", "label_names")
NAME_KEYS = ("filenames", "names", "files")


def read(path: Path) -> Raw:
    """Read one path of any kind. DataError: missing, empty, torn, pickled, or of no known kind."""
    try:
        return _read(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({reason(error)}); make it readable or give another.") from error


def _read(path: Path) -> Raw:
    if path.is_dir():
        return read_folder(path)
    if not path.exists():
        raise DataError(f"{path} does not exist; give an .npz, an .npy, an image file or a folder of images.")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return Raw(path, (path,), names=(path.name,))
    if path.suffix.lower() in (".npz", ".npy"):
        return _read_numpy(path)
    raise DataError(f"{path} is none of .npz, .npy, image file ({' '.join(IMAGE_SUFFIXES)}) or folder; convert it.")


def _read_numpy(path: Path) -> Raw:
    """By what the file is, not by what it is called."""
    if _is_archive(path):
        with path.open("rb") as file, _load(path, file) as archive:
            return _from_npz(path, archive)
    return _from_npy(path, _load(path))


def _is_archive(path: Path) -> bool:
    """Told by the first bytes; DataError for a pickle and for what is no NumPy file at all."""
    with path.open("rb") as file:
        magic = file.read(6)
    if magic[:1] == b"\x80":
        raise DataError(_pickled(f"{path}"))
    archive = magic[:4] in (b"PK\x03\x04", b"PK\x05\x06")
    if not archive and magic != b"\x93NUMPY":
        raise DataError(f"{path} is not a NumPy file, or it is torn; write it again with numpy.save or numpy.savez.")
    return archive


def _load(path: Path, archive: BinaryIO | None = None) -> Any:
    """An archive from its open file, to be closed by the caller; an array mapped from its path, not yet in memory."""
    try:
        if archive is not None:
            return np.load(archive, allow_pickle=False)
        return np.load(path, allow_pickle=False, mmap_mode="r")
    except Exception as error:  # torn files raise nearly anything
        raise _unreadable(str(path), error) from error


def _pickled(where: str) -> str:
    return f"{where} is pickled, and pickles are never loaded; save it as a plain array of numbers or strings."


def _unreadable(where: str, error: Exception) -> DataError:
    text = str(error)
    if "pickle" in text.lower() or "python objects" in text.lower():
        return DataError(_pickled(where))
    return DataError(f"{where} cannot be read ({reason(error)}); it may be torn: write it again.")


def _from_npz(path: Path, archive: np.lib.npyio.NpzFile) -> Raw:
    keys = {key.lower(): key for key in reversed(archive.files)}
    image_key, label_key = _keys(path, archive.files, keys)
    images = _numeric(_member(path, archive, image_key), f"{path}: {image_key}")
    labels: Labels | None = None
    places: tuple[str, ...] = ()
    if label_key is not None:
        stored = _member(path, archive, label_key)
        labels, places = _labels(stored, len(images), f"{path}: {label_key}", f"{path}: {image_key}")
    classes = _strings(path, archive, keys, CLASS_KEYS)
    names = _strings(path, archive, keys, NAME_KEYS)
    return Raw(
        path,
        images,
        labels,
        names if names and len(names) == len(images) else None,
        dict(enumerate(classes or ())),
        image_key,
        places,
        f" ({image_key}, {label_key})" if label_key else f" ({image_key}, no labels)",
    )


def _keys(path: Path, found: list[str], keys: Mapping[str, str]) -> tuple[str, str | None]:
    for image_key, label_key in PAIRS:
        if image_key in keys:
            partner = next((k for k in (label_key, *LABEL_KEYS) if k in keys), None)
            return keys[image_key], keys[partner] if partner else None
    if len(found) == 1 and found[0].lower() not in LABEL_KEYS:
        return found[0], None
    raise DataError(
        f"{path} holds {', '.join(found) or 'no arrays'}, and none is a name for images "
        f"({', '.join(pair[0] for pair in PAIRS)}); rename the array of images."
    )


def _member(path: Path, archive: np.lib.npyio.NpzFile, key: str) -> Array:
    try:
        value = archive[key]
    except Exception as error:  # torn files raise nearly anything
        raise _unreadable(f"{path}: {key}", error) from error
    if not isinstance(value, np.ndarray):
        raise DataError(f"{path}: {key} is no NumPy array; write the file again with numpy.savez.")
    return value


def _strings(
    path: Path, archive: np.lib.npyio.NpzFile, keys: Mapping[str, str], wanted: tuple[str, ...]
) -> tuple[str, ...] | None:
    key = next((keys[k] for k in wanted if k in keys), None)
    if key is None:
        return None
    value = _member(path, archive, key)
    return tuple(str(text) for text in value) if value.ndim == 1 and value.dtype.kind == "U" else None


def _from_npy(path: Path, images: Array) -> Raw:
    images = _numeric(images, str(path))
    for beside in (path.with_name(f"{path.stem}_labels.npy"), path.with_name("labels.npy")):
        if beside.is_file() and beside != path:
            if _is_archive(beside):
                raise DataError(f"{beside} is an archive of arrays; save the labels alone with numpy.save.")
            labels, places = _labels(_load(beside), len(images), f"{beside}: array", str(path))
            return Raw(path, images, labels, label_places=places, note=f" (labels from {beside.name})")
    return Raw(path, images, note=" (no labels)")


def _numeric(images: Array, where: str) -> Array:
    if images.dtype.kind not in "biuf":
        raise DataError(f"{where} is of dtype {images.dtype}, which is no image; save integers or floats.")
    if images.ndim < 2:
        raise DataError(
            f"{where} has the shape {images.shape}, but images need an axis that counts them and at least one more; "
            "labels belong in <name>_labels.npy beside the images."
        )
    if images.size == 0:
        raise DataError(f"{where} has the shape {images.shape}, which holds no pixel; give at least one image.")
    return images


def _labels(stored: Array, count: int, where: str, images: str) -> tuple[Labels, tuple[str, ...]]:
    if stored.dtype.kind not in "biuf":
        raise DataError(f"{where} is of dtype {stored.dtype}, but labels are whole numbers; save class numbers.")
    flat = stored[:, 0] if stored.ndim == 2 and stored.shape[1] == 1 else stored
    if flat.ndim != 1:
        raise DataError(f"{where} has the shape {stored.shape}, but labels are one class number an image; use argmax.")
    if len(flat) != count:
        raise DataError(f"{where} holds {len(flat)} labels, but {images} holds {count} images; make them match.")
    if flat.dtype.kind == "f" and (odd := np.flatnonzero(~(np.isfinite(flat) & (flat == np.floor(flat))))).size:
        raise DataError(f"{where}[{odd[0]}] is {flat[odd[0]]}, which is no class number; save whole numbers.")
    return flat.astype(np.int64), tuple(f"{where}[{row}]" for row in range(count))
