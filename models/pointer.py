"""Files that git-lfs left in place of the weights."""

from __future__ import annotations

from pathlib import Path

from onnxfi.errors import ModelError

LFS = b"version https://git-lfs"


def refuse_pointer(path: Path) -> None:
    """Raises ModelError if the file is a git-lfs pointer or cannot be read."""
    try:
        with path.open("rb") as file:
            beginning = file.read(len(LFS))
    except OSError as problem:
        raise ModelError(f"{path} cannot be read: {problem.strerror}") from None
    if beginning == LFS:
        raise ModelError(f"{path} is a git-lfs pointer, not the weights; run `git lfs pull` where it came from")
