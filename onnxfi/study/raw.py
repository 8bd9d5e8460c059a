"""What one path holds, and decoding one image file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from onnxfi.errors import DataError

Array = npt.NDArray[Any]
Labels = npt.NDArray[np.int64]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp", ".gif")

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True)
class Raw:
    """What one path holds.

    images   array (N, ...) of bool, integers or floats, or N image files, decoded only when asked for
    labels   int64 (N,), checked to be whole numbers, or None
    classes  class number -> name, as far as known
    key      the array's name in its file, for errors
    label_places  where each label stands, for errors
    """

    path: Path
    images: Array | tuple[Path, ...]
    labels: Labels | None = None
    names: tuple[str, ...] | None = None
    classes: Mapping[int, str] = field(default_factory=dict)
    key: str = "array"
    label_places: tuple[str, ...] = ()
    note: str = ""

    def __len__(self) -> int:
        return len(self.images)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the images; files are decoded to uint8."""
        return np.dtype(np.uint8) if isinstance(self.images, tuple) else self.images.dtype

    def where(self, row: int) -> str:
        """Words for one image: its file, or its place in the array."""
        return str(self.images[row]) if isinstance(self.images, tuple) else f"{self.path}: {self.key}[{row}]"

    def block(self, rows: npt.NDArray[np.intp], channels: int | None) -> Array:
        """Those images, (n, ...). Files come as uint8 NHWC of 1 (grey), 3 (RGB) or 4 channels and must be of one size.

        DataError: an unreadable file, NaN or Inf.
        """
        if isinstance(self.images, tuple):
            return np.stack([decode(self.images[row], channels) for row in rows])
        images = self.images[rows]
        if images.dtype.kind == "f" and not (finite := np.isfinite(images)).all():
            first = np.argwhere(~finite)[0]
            place = ", ".join(str(i) for i in (rows[first[0]], *first[1:]))
            raise DataError(
                f"{self.path}: {self.key}[{place}] is {images[tuple(first)]}; replace or remove that image."
            )
        return images


def decode(path: Path, channels: int | None) -> npt.NDArray[np.uint8]:
    """An image file as uint8 (H, W, channels): 1 is grey, 3 (or None) RGB, 4 RGBA.

    16-bit grey is brought to 8 bits; palettes are expanded; transparency is dropped; rotation marks are not followed.
    DataError: missing, torn, or of a kind without a known range.
    """
    mode = _MODES.get(channels or 3)
    if mode is None:
        raise DataError(f"{path} can be read with 1, 3 or 4 channels, but the model wants {channels}; give an .npy.")
    if not path.is_file():
        raise DataError(f"{path} does not exist; correct its name or remove it from the list.")
    try:
        with Image.open(path) as opened:
            pixels = np.asarray(_eight_bit(opened).convert(mode))
    except Exception as error:  # decoders of torn files raise nearly anything
        raise DataError(f"{path} cannot be read as an image ({reason(error)}); replace or remove it.") from error
    return pixels.reshape(*pixels.shape[:2], channels or 3)


def _eight_bit(image: Image.Image) -> Image.Image:
    deep = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG")
    if deep:
        values = np.asarray(image).astype(np.int64)
        return Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of mode {image.mode} have no known range, save it with 8 or 16 bits")
    return image


def reason(error: Exception) -> str:
    """The first line of what a library said."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".") or type(error).__name__
