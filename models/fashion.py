"""Fashion-MNIST (Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747; Zalando SE, MIT licence) from its own gzip files."""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from onnxfi.errors import DataError

FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where the Debian package `dataset-fashion-mnist` puts the files."""

CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

SOURCE = "Fashion-MNIST, Zalando Research, https://github.com/zalandoresearch/fashion-mnist"

LICENCE = """\
The MIT License (MIT)

Copyright (c) 2017 Zalando SE, https://tech.zalando.com

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""

Bytes = NDArray[np.uint8]
Flags = NDArray[np.bool_]
Indices = NDArray[np.int64]


class Split(NamedTuple):
    """`images` uint8 (N, 28, 28), white on black; `labels` uint8 (N,), an index into CLASSES."""

    images: Bytes
    labels: Bytes


def load(part: Literal["train", "t10k"], folder: Path = FOLDER) -> Split:
    """The 60,000 training or the 10,000 test images. Raises DataError if a file is missing or not what it should be."""
    images = _idx(folder / f"{part}-images-idx3-ubyte.gz", 3)
    labels = _idx(folder / f"{part}-labels-idx1-ubyte.gz", 1)
    if len(images) != len(labels):
        raise DataError(f"{folder} holds {len(images)} {part} images but {len(labels)} labels")
    return Split(images, labels)


def first_of_each_class(labels: Bytes, count: int) -> Indices:
    """Indices, ascending, of the first `count` images of every class: a balanced subset that needs no seed."""
    firsts = [np.flatnonzero(labels == label)[:count] for label in range(len(CLASSES))]
    return np.sort(np.concatenate(firsts))


def _idx(path: Path, rank: int) -> Bytes:
    """The array in an IDX file: bytes 0, 0, type 8 (uint8), rank; then big-endian int32 sizes; then the data."""
    try:
        raw = gzip.decompress(path.read_bytes())
    except FileNotFoundError:
        raise DataError(
            f"{path} is missing; install the Debian package dataset-fashion-mnist, or put the four .gz files of "
            "github.com/zalandoresearch/fashion-mnist into a folder and name it with --data"
        ) from None
    except (OSError, EOFError) as problem:
        raise DataError(f"{path} cannot be read: {problem}") from problem
    header = 4 + 4 * rank
    sizes = [int.from_bytes(raw[at : at + 4], "big") for at in range(4, header, 4)]
    if raw[:4] != bytes((0, 0, 8, rank)) or len(raw) != header + math.prod(sizes):
        raise DataError(f"{path} is not an IDX file of bytes with {rank} axes")
    return np.frombuffer(raw, np.uint8, offset=header).reshape(sizes)
