"""The one place where benchmarks reach into the engine: runs without pruning, and its tails laid bare."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from onnxfi.engine.engine import Engine
from onnxfi.engine.tails import CutTail

Array = np.ndarray[Any, Any]


class Unpruned(Engine):
    """An engine that runs every trial through its tail, whether or not its head already knows it masked."""

    def _changed(self, *arguments: Any) -> Any:
        cut, patch, masked = super()._changed(*arguments)
        return cut, patch, np.zeros_like(masked)


def tail_of(engine: Engine, region: int, exact: bool) -> CutTail:
    """The tail that trials of a region take."""
    return engine._tails.at(engine._prepared.routes[region].cut, exact)


def live_share(engine: Engine, region: int, trials: Array) -> float:
    """The share of trials of a region that change something at the cut, and so need their tail."""
    route = engine._prepared.routes[region]
    return float(1 - engine._changed(route, engine._head(route), trials)[2].mean())


def rows_of(tail: CutTail) -> int:
    """Rows a run."""
    return tail._tail._rows


def bare(tail: CutTail, images: Array) -> Callable[[], object]:
    """The tail's own session, alone, on inputs that lie ready: fault-free rows of `images`, as many a run as the engine
    takes. A tail without nodes (the cut is the output) costs nothing."""
    inner = tail._tail
    session = inner._session
    if session is None:
        return lambda: None
    ready = []
    for start in range(0, len(images), inner._rows):
        picked = images[start : start + inner._rows].astype(np.int64)
        ready.append(dict(zip(inner._by_row, inner._feed(picked, None, False), strict=True)))
    return lambda: [session.run_bound(feeds, True) for feeds in ready]
