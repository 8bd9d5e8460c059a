"""Images as arrays: their layout, and bringing them to a size. Sizes are (height, width) everywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from onnxfi.errors import DataError

Array = npt.NDArray[Any]
Size = int | tuple[int, int]
Layout = Literal["NCHW", "NHWC", "NHW", "as given"]
Where = Callable[[int], str]
"""Words for the image at a row of the block at hand, for errors."""

_PIXEL_CHANNELS = (1, 3)


@dataclass(frozen=True)
class Frame:
    """The model's input as an image: its layout and sizes, None where free (or where it is no image)."""

    layout: Layout
    channels: int | None = None
    height: int | None = None
    width: int | None = None

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Of one image."""
        if self.layout == "NHW":
            return self.height, self.width
        if self.layout == "NHWC":
            return self.height, self.width, self.channels
        return self.channels, self.height, self.width

    def fits(self, height: int, width: int) -> bool:
        return self.height in (None, height) and self.width in (None, width)


def frame_of(shape: tuple[int | None, ...], layout: Literal["NCHW", "NHWC"] | None = None) -> Frame:
    """Tell the layout from the shape of one image, unless it is known.

    Two sizes are NHW. Of three, the end that is 1 or 3 is the channel axis. Where both ends or neither are, the two
    equal neighbours are height and width; failing that, NCHW, which is ONNX's own. Any other rank is fed as given.
    """
    if len(shape) == 2:
        return Frame("NHW", 1, *shape)
    if len(shape) != 3:
        return Frame("as given")
    first, middle, last = shape
    channels_last = last in _PIXEL_CHANNELS
    if channels_last == (first in _PIXEL_CHANNELS):
        channels_last = first == middle != last
    if (layout or ("NHWC" if channels_last else "NCHW")) == "NHWC":
        return Frame("NHWC", last, first, middle)
    return Frame("NCHW", first, middle, last)


def to_nhwc(images: Array, frame: Frame, where: Where) -> Array:
    """A view (n, H, W, C) of images (n, H, W), (n, C, H, W) or (n, H, W, C).

    The channel axis is the one that holds as many as the model wants. An array that fits both ways is read the way that
    has the model's height and width, and else in the model's own layout. DataError where it fits neither way.
    """
    shape = images.shape[1:]
    if len(shape) == 2 and frame.channels in (None, 1):
        return images[..., None]
    views: list[Array] = []
    if len(shape) == 3:
        possible = (frame.channels,) if frame.channels is not None else _PIXEL_CHANNELS
        views += [images.transpose(0, 2, 3, 1)] if shape[0] in possible else []
        views += [images] if shape[2] in possible else []
    if frame.layout == "NHWC":
        views.reverse()
    if not views:
        count = "1 or 3 channels" if frame.channels is None else f"{frame.channels} channel(s)"
        raise DataError(
            f"{where(0)} has the shape {shape_words(shape)}, but the model wants {count} as "
            f"{shape_words(frame.shape)} ({frame.layout}); give images with that many channels."
        )
    return next((view for view in views if frame.fits(*view.shape[1:3])), views[0])


def from_nhwc(pixels: Array, frame: Frame) -> Array:
    """(n, H, W, C) in the model's layout."""
    if frame.layout == "NCHW":
        return pixels.transpose(0, 3, 1, 2)
    return pixels[..., 0] if frame.layout == "NHW" else pixels


def sized(pixels: Array, resize: Size | None, crop: Size | None, where: Where) -> Array:
    """NHWC images resized (bilinear), then cropped from the centre. uint8 stays; other dtypes become float32."""
    if resize is None and crop is None:
        return pixels
    images = []
    for row, image in enumerate(pixels):
        if resize is not None:
            image = _resized(image, _target(image.shape[0], image.shape[1], resize))
        if crop is not None:
            image = _cropped(image, pair(crop), where(row))
        images.append(image)
    return np.stack(images)


def pair(size: Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def _target(height: int, width: int, resize: Size) -> tuple[int, int]:
    """The longer side follows the shorter one, rounded down, as in torchvision."""
    if not isinstance(resize, int):
        return resize
    short = min(height, width)
    return height * resize // short, width * resize // short


def _resized(image: Array, size: tuple[int, int]) -> Array:
    if image.shape[:2] == size:
        return image
    height, width = size
    kept = image if image.dtype == np.uint8 else image.astype(np.float32)
    planes = [Image.fromarray(np.ascontiguousarray(kept[..., c])) for c in range(kept.shape[2])]
    return np.stack([np.asarray(plane.resize((width, height), Image.Resampling.BILINEAR)) for plane in planes], axis=-1)


def _cropped(image: Array, size: tuple[int, int], where: str) -> Array:
    height, width = size
    if height > image.shape[0] or width > image.shape[1]:
        raise DataError(
            f"{where} is {image.shape[0]}x{image.shape[1]} (height x width), smaller than --crop {size_words(size)}; "
            f"give --resize {max(size)} or more, or a smaller --crop."
        )
    top, left = round((image.shape[0] - height) / 2), round((image.shape[1] - width) / 2)
    return image[top : top + height, left : left + width]


def check_size(pixels: Array, frame: Frame, resize: Size | None, crop: Size | None, where: Where) -> None:
    """DataError, with the options that would help, where NHWC images are not of the model's height and width."""
    height, width = pixels.shape[1:3]
    if frame.fits(height, width):
        return
    want = (frame.height or height, frame.width or width)
    exact, short = f"{want[0]}x{want[1]}", size_words(want)
    if crop is not None:
        advice = f"use --crop {short}"
    elif resize is None and height * want[1] == width * want[0]:
        advice = f"use --resize {short}"
    else:
        advice = f"use --resize {exact}, or --resize {max(want)} --crop {short} to keep the proportions"
    after = "" if resize is None and crop is None else " after --resize and --crop"
    raise DataError(f"{where(0)} is {height}x{width}{after}, but the model wants {exact} (height x width); {advice}.")


def shape_words(sizes: tuple[int | None, ...]) -> str:
    return "x".join("?" if size is None else str(size) for size in sizes) or "one number"


def size_words(size: Size) -> str:
    """'32' for a square, '32x48' (height x width) otherwise: as the options take it."""
    height, width = pair(size)
    return str(height) if height == width else f"{height}x{width}"
