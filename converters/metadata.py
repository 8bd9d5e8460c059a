"""What a converter writes into the ONNX model's `metadata_props` for `onnxfi` to read.

    onnxfi.framework   "pytorch" or "keras"
    onnxfi.layers      JSON object {initializer name: the framework's name of its layer}
    onnxfi.scale       one float; image = (uint8 * scale - mean) / std
    onnxfi.mean        floats with commas between them, one a channel
    onnxfi.std         likewise

The last three are there only if the normalisation is known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from models.normalisation import Normalisation


def properties(framework: str, layers: Mapping[str, str], by: Normalisation | None) -> dict[str, str]:
    """The entries for one model, as text."""
    known = {"onnxfi.framework": framework, "onnxfi.layers": json.dumps(dict(layers), separators=(",", ":"))}
    if by is not None:
        known |= {"onnxfi.scale": repr(by.scale), "onnxfi.mean": _list(by.mean), "onnxfi.std": _list(by.std)}
    return known


def _list(values: tuple[float, ...]) -> str:
    return ",".join(map(repr, values))
