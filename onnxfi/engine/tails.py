"""The tails of one engine: compiled when first needed, proven with null faults, forgotten when memory is short."""

from __future__ import annotations

import os
from collections import OrderedDict
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from onnxfi.engine.freed import give_back
from onnxfi.engine.golden import Golden
from onnxfi.engine.prepare import Prepared
from onnxfi.engine.probe import Rows
from onnxfi.engine.route import tail_piece
from onnxfi.engine.session import STEP
from onnxfi.engine.tail import Patch, Tail, equal_words
from onnxfi.errors import EngineError
from onnxfi.graph.chain import constant
from onnxfi.graph.cut import SubGraph

Array = np.ndarray[Any, Any]
_NULL_IMAGES = 4
_LEAST_NOISE, _MOST_NOISE = 1e-3, 2e-2  # relative to the largest logit
_BYTES_A_RUN = 64 << 20
_PROCESS_BYTES = 768 << 20  # Python, ONNX Runtime, the model and its heads, compiling, and a share of the parent
_ROWS, _MOST_ROWS = 32, 512  # as many as the second when they fit the cache of a core
_CACHE_BYTES = 1 << 20
_numbers = count()


class CutTail:
    """One tail with its own golden logits.

    `macs`: multiply-accumulates of one row; `noise`: how far, relative to the logits, rounding may carry its answers.
    """

    def __init__(self, tail: Tail, golden: Array, stored: Array | None, exact: bool, macs: int, size: int):
        self.macs, self.bytes = macs, size
        self._tail, self._stored = tail, stored
        self._golden = golden.copy()
        self._known = np.full(len(golden), exact)
        self.rows_run = 0
        self.noise = 0.0

    def run(self, image: Array, patch: Patch | None, weight: Array | None = None) -> Array:
        """Faulty logits (T, classes) of `image` (T,), with the cut patched or the cut initializer replaced."""
        self.rows_run += len(image)
        return self._tail.run(image, patch, weight)

    def golden(self, image: Array) -> Array:
        """This tail's own fault-free logits (T, classes): run once an image, with nothing changed."""
        missing = np.unique(image[~self._known[image]])
        if len(missing):
            self._golden[missing] = self.run(missing, None, self._stored)
            self._known[missing] = True
        return np.asarray(self._golden[image])

    def check(self, exact: bool, wanted: Array, cut: str) -> None:
        """Null faults: with nothing changed, an exact tail gives the golden bits and a fast one comes near them.

        Raises EngineError where it does not: no trial through this tail could be trusted.
        """
        image = np.arange(min(_NULL_IMAGES, len(wanted)))
        got, true = self.run(image, None, self._stored), wanted[image]
        off = np.abs(got.astype(np.float64) - true.astype(np.float64)).max() / (np.abs(wanted).max() + 1e-30)
        self.noise = max(_LEAST_NOISE, 32 * off)
        if not (equal_words(got, true).all() if exact else off < _MOST_NOISE):
            raise EngineError(
                f"The tail from tensor {cut!r} does not give the model's own answer when nothing is changed: "
                "faults there could not be told from noise. Leave the layer out with --layers, or report this model."
            )


class Tails:
    """The tails of a prepared study, by cut and by whether they are exact."""

    def __init__(self, prepared: Prepared, folder: Path, golden: Golden, logits: Array):
        self._prepared, self._folder, self._golden, self._logits = prepared, folder, golden, logits
        self._kept: OrderedDict[tuple[str, bool], CutTail] = OrderedDict()

    def at(self, cut: str, exact: bool) -> CutTail:
        """The tail that begins with activation or initializer `cut`."""
        key = (cut, exact)
        if key not in self._kept:
            self._kept[key] = self._built(cut, exact)
            give_back()
        self._kept.move_to_end(key)
        return self._kept[key]

    def clear(self) -> None:
        """Forget them all."""
        self._kept.clear()

    def _make_room(self, size: int) -> None:
        """Forget what was used longest ago, until there is room for a tail of `size` bytes."""
        memory = self._prepared.settings.memory
        room = max(memory - _PROCESS_BYTES, memory // 4) - size
        while self._kept and sum(tail.bytes for tail in self._kept.values()) > room:
            self._kept.popitem(last=False)
        give_back()

    def _built(self, cut: str, exact: bool) -> CutTail:
        p = self._prepared
        piece = tail_piece(p.network, cut, p.probe, p.model)
        provider = "cpu" if exact else p.settings.provider
        row = self._row_bytes(piece)
        share = min(_BYTES_A_RUN, p.settings.memory // 8) // max(row, 1)
        most = int(np.clip(_CACHE_BYTES // max(row, 1), _ROWS, _MOST_ROWS))
        rows = p.probe.batch or int(np.clip(min(share, most) // STEP * STEP, STEP, most))
        weights = 0 if exact else _weight_bytes(piece)
        self._make_room(rows * row + 2 * weights)  # while ONNX Runtime compiles it holds them twice
        path = self._folder / f"tail-{os.getpid()}-{next(_numbers)}.onnx"
        tail = Tail(piece, path, p.probe, self._golden, fast=not exact, provider=provider, rows=rows)
        path.unlink(missing_ok=True)
        stored = None if cut in self._golden else constant(p.network.model, cut)
        macs = sum(p.macs.get(name, 0) for name in piece.nodes)
        built = CutTail(tail, self._logits, stored, exact, macs, rows * row + weights)
        built.check(exact, self._logits, cut)
        return built

    def _row_bytes(self, piece: SubGraph) -> int:
        """What one row needs at the most: the two largest neighbouring tensors, and what crosses the cut."""
        sizes = [0, 0]
        for node in piece.model.graph.node:
            for name in node.output:
                kind = self._prepared.probe.kinds.get(name)
                if isinstance(kind, Rows):
                    sizes.append(kind.size * np.dtype(kind.dtype).itemsize)
        return int(sum(sorted(sizes)[-2:]) * 2)


def _weight_bytes(piece: SubGraph) -> int:
    """Optimised tails keep private, repacked copies of their weights."""
    return sum(int(np.prod(tensor.dims, dtype=np.int64)) * 4 for tensor in piece.model.graph.initializer)
