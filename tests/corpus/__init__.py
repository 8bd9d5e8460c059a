"""A generated corpus of small ONNX models: every op, dtype, opset and habit of exporters that onnxfi must treat.

Built with onnx.helper and seeded numpy weights, a few KB each, no framework. `CASES` maps each name to its `Case`
(a tag says what it is about and how it must be treated); `images` makes random images for it, `save` writes its file.
"""

from __future__ import annotations

from . import (  # noqa: F401  (each module enters its cases)
    architectures,
    attention,
    batches,
    convolutions,
    dense,
    dtypes,
    odd,
    pointwise,
    quantised,
    stored,
    structures,
    versions,
)
from .case import CASES, CLASSES, Case, images, save

__all__ = ["CASES", "CLASSES", "Case", "images", "save", "select"]


def select(*tags: str, but: tuple[str, ...] = ()) -> list[str]:
    """The names of the cases that have any of `tags` (all cases without) and none of `but`."""
    return [n for n, c in CASES.items() if (not tags or c.tags & set(tags)) and not c.tags & set(but)]
