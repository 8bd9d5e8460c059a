"""Writing a model to a file, whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from onnx import ModelProto

from onnxfi.errors import ModelError

_MOST = 2**31 - 1  # protobuf's limit of one message


def write(model: ModelProto, path: Path) -> None:
    """Write `model`, everything inline, to `path`, over what was there.

    Raises ModelError: larger than a single file may be, or a place that cannot be written.
    """
    if model.ByteSize() > _MOST:
        raise ModelError(f"{path} would be larger than 2 GiB, more than one ONNX file can hold.")
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            file.write(model.SerializeToString())
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ModelError(f"{path} cannot be written ({error.strerror}); give another file.") from error
