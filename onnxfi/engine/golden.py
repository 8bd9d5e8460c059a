"""The golden cache: what the fault-free model computes, kept in memory-mapped files, one row an image."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from onnxfi.engine.probe import Probe
from onnxfi.engine.session import Session, on_device

Array = np.ndarray[Any, Any]


class Golden:
    """Golden rows of tensors, by name, in the order of the images. Read-only once written.

    Files are numbered, not named: a tensor's name is data and never a path.
    """

    def __init__(self, folder: Path, tensors: Iterable[str], images: int, probe: Probe):
        self._files = {name: folder / f"golden-{i}.npy" for i, name in enumerate(tensors)}
        self._open: dict[str, Array] = {}
        self._values: dict[tuple[str, str], ort.OrtValue] = {}
        self._images = images
        self._probe = probe

    def __contains__(self, tensor: str) -> bool:
        return tensor in self._files

    def __getitem__(self, tensor: str) -> Array:
        """Rows (images, *row shape) of `tensor`, memory-mapped."""
        if tensor not in self._open:
            self._open[tensor] = np.load(self._files[tensor], mmap_mode="r", allow_pickle=False)
        return self._open[tensor]

    def value(self, tensor: str, provider: str) -> ort.OrtValue:
        """The rows of `tensor` where `provider` computes: moved there once, whichever tails read them."""
        key = (tensor, provider)
        if key not in self._values:
            self._values[key] = on_device(self[tensor], provider)
        return self._values[key]

    def write(self, session: Session, input_name: str, images: Array, chunk: int) -> None:
        """Run the whole model over all images, `chunk` at a time, and keep every tensor's rows."""
        files = {}
        for name, path in self._files.items():
            rows = self._probe.rows(name)
            files[name] = np.lib.format.open_memmap(
                path, mode="w+", dtype=np.dtype(rows.dtype), shape=(self._images, *rows.shape)
            )
            _reserve(path)
        names = [name for name in files if name != input_name]
        for start, stop, fed in _chunks(images, chunk):
            values = dict(zip(names, session.run({input_name: fed}, names), strict=True)) if names else {}
            values[input_name] = fed
            for name, file in files.items():
                file[start:stop] = self._probe.rows(name).split(values[name], len(fed))[: stop - start]
        for file in files.values():
            file.flush()


def _reserve(path: Path) -> None:
    """Take the disk space now: on a full disk this is an OSError, where writing to the map would kill the process."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def _chunks(images: Array, chunk: int) -> Iterator[tuple[int, int, Array]]:
    """Whole chunks only: the last one is filled up by repeating its last image."""
    for start in range(0, len(images), chunk):
        stop = min(start + chunk, len(images))
        picked = np.minimum(np.arange(start, start + chunk), stop - 1)
        yield start, stop, np.ascontiguousarray(images[picked])
