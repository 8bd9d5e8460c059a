"""Tails: from a cut tensor, through the fault node, to the logits.

A tail takes golden rows of many images, changes a part of each, and runs them together: rows of different faults and
images share one batch and do not disturb each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from onnxfi.engine.golden import Golden
from onnxfi.engine.probe import Counted, Fixed, Probe, Rows
from onnxfi.engine.session import STEP, OutOfMemoryError, Session, on_device
from onnxfi.errors import EngineError
from onnxfi.graph.cut import SubGraph
from onnxfi.graph.fault_node import feeder

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Patch:
    """What a fault changes at the cut, one entry a row.

    With `channel` (int64 (T,)): `value` (T, *row[1:]) replaces that whole channel of the row's first axis. Without:
    `where` (T, M) are flat places in the row and `value` (T, M) what stands there.
    """

    value: Array
    channel: Array | None = None
    where: Array | None = None

    def take(self, rows: Array) -> Patch:
        """The patch of the chosen rows (indices or a mask)."""
        channel = None if self.channel is None else self.channel[rows]
        where = None if self.where is None else self.where[rows]
        return Patch(self.value[rows], channel, where)


class Tail:
    """The sub-graph `piece`, compiled, with what it reads of the golden cache.

    `rows` is how many rows share a run; on CUDA, and where the model's batch is fixed, every run has exactly that many.
    """

    def __init__(
        self, piece: SubGraph, path: Path, probe: Probe, golden: Golden, *, fast: bool, provider: str, rows: int
    ):
        self._probe, self._golden, self._provider = probe, golden, provider
        self._cut = piece.inputs[0] if piece.inputs else piece.crossing[0]
        self._output = piece.model.graph.output[0].name
        activation = self._cut in golden
        needed = (*((self._cut,) if activation else ()), *piece.crossing)
        self._by_row = tuple(name for name in needed if isinstance(probe.kinds[name], Rows))
        self._others = tuple(name for name in needed if name not in self._by_row)
        self._patched = activation
        self._rows, self._whole = rows, provider == "cuda" or probe.batch is not None
        self._session = None
        if piece.nodes:
            path.write_bytes(piece.model.SerializeToString())
            self._session = Session(path, fast=fast, provider=provider, what=f"the tail from {self._cut!r}")
        self._feeders: dict[str, Session] = {}

    def run(self, images: Array, patch: Patch | None, weight: Array | None = None) -> Array:
        """Logits (T, classes) of images (T,) under `patch`, or with the cut initializer replaced by `weight`.

        Halves the rows a run has, for good, when memory runs out.
        """
        if not len(images):
            return np.empty((0, self._probe.rows(self._output).size), self._probe.rows(self._output).dtype)
        if not self._probe.placed:
            return self._run_all(images, patch, weight)
        place = _places(images)
        fill = np.zeros(-(-(place.max() + 1) // STEP) * STEP, np.int64)
        fill[place] = np.arange(len(images))
        return self._run_all(images[fill], patch and patch.take(fill), weight)[place]

    def _run_all(self, images: Array, patch: Patch | None, weight: Array | None) -> Array:
        parts, start = [], 0
        while start < len(images):
            stop = min(start + self._rows, len(images))
            try:
                parts.append(self._run(images[start:stop], patch and patch.take(np.arange(start, stop)), weight))
            except OutOfMemoryError:
                if self._whole or self._rows <= STEP:
                    raise
                self._rows = max(STEP, self._rows // (2 * STEP) * STEP)
                continue
            start = stop
        return np.concatenate(parts)

    def _run(self, images: Array, patch: Patch | None, weight: Array | None) -> Array:
        count = len(images)
        full = self._rows if self._whole else -(-count // STEP) * STEP
        fill = np.minimum(np.arange(full), count - 1)
        images, patch = images[fill].astype(np.int64), patch and patch.take(fill)
        fed = {}
        if self._by_row:
            values = self._feed(images, patch, to_host=self._session is None)
            fed = dict(zip(self._by_row, values, strict=True))
        if self._session is None:
            return self._logits(fed[self._cut].numpy(), count, full)
        for name in self._others:
            fed[name] = on_device(self._constant(name, full), self._provider)
        if weight is not None:
            fed[self._cut] = on_device(np.ascontiguousarray(weight), self._provider)
        return self._logits(self._session.run_bound(fed, to_host=True)[0].numpy(), count, full)

    def _feed(self, images: Array, patch: Patch | None, to_host: bool) -> list[ort.OrtValue]:
        kind, extra = "nothing", {}
        if patch is not None and patch.channel is not None:
            kind = "slice"
            where = np.stack([np.arange(len(images), dtype=np.int64), patch.channel.astype(np.int64)], axis=1)
            extra = {"where": where, "what": np.ascontiguousarray(patch.value)}
        elif patch is not None and patch.where is not None:
            kind = "elements"
            start = np.arange(len(images), dtype=np.int64)[:, None] * self._probe.rows(self._cut).size
            flat = (start + patch.where.astype(np.int64)).reshape(-1, 1)
            extra = {"where": flat, "what": np.ascontiguousarray(patch.value.reshape(-1))}
        if kind not in self._feeders:
            layouts = [self._probe.rows(name).layout for name in self._by_row]
            model = feeder(layouts, kind).SerializeToString()
            self._feeders[kind] = Session(model, provider=self._provider, what="the fault node")
        fed = {f"golden_{i}": self._golden.value(name, self._provider) for i, name in enumerate(self._by_row)}
        fed["image"] = on_device(images, self._provider)
        fed.update({name: on_device(value, self._provider) for name, value in extra.items()})
        return self._feeders[kind].run_bound(fed, to_host)

    def _constant(self, name: str, rows: int) -> Array:
        kind = self._probe.kinds[name]
        if isinstance(kind, Fixed):
            return kind.value
        if isinstance(kind, Counted):
            return np.asarray(kind.base + kind.step * rows)
        self._probe.rows(name)  # raises, naming the tensor
        raise EngineError(f"The model cannot be cut at tensor {self._cut!r}: {name!r} crosses the cut.")

    def _logits(self, tensor: Array, count: int, rows: int) -> Array:
        return np.ascontiguousarray(self._probe.rows(self._output).split(tensor, rows)[:count].reshape(count, -1))


def _places(images: Array) -> Array:
    """A place for each row, so that image i stands at one of i's own remainder modulo STEP; few are left empty."""
    remainder = images % STEP
    order = np.argsort(remainder, kind="stable")
    counts = np.bincount(remainder, minlength=STEP)
    nth = np.arange(len(images)) - np.repeat(np.cumsum(counts) - counts, counts)
    places = np.empty(len(images), np.int64)
    places[order] = nth * STEP + remainder[order]
    return places


def equal_words(a: Array, b: Array) -> Array:
    """Whether rows of `a` and `b` (T, ...) are equal bit for bit; bool (T,)."""
    size = int(np.prod(a.shape[1:], dtype=np.int64))
    words = [np.ascontiguousarray(x).reshape(len(x), size).view(f"u{x.dtype.itemsize}") for x in (a, b)]
    return np.asarray((words[0] == words[1]).all(axis=1))
