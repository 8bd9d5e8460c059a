"""A model that a test builds, as ingest gives it back."""

from __future__ import annotations

from pathlib import Path

import onnx
from corpus import CASES, save

from onnxfi.graph.network import Network


def load(model: onnx.ModelProto, folder: Path, output: str | None = None, *, unshare: bool = False) -> Network:
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return Network.load(path, output=output, unshare=unshare)


def of_case(name: str, folder: Path, *, unshare: bool = False) -> Network:
    """A case of the corpus."""
    return Network.load(save(CASES[name], folder), output=CASES[name].output, unshare=unshare)
