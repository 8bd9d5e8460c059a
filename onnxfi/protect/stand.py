"""Engines on models with and without guards, and the shots that are fired on them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import tee
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onnxfi.engine.prepare import Settings, look, prepare
from onnxfi.engine.probe import Probe
from onnxfi.faults.space import Region
from onnxfi.graph.cut import Model
from onnxfi.graph.network import Network
from onnxfi.graph.write import write
from onnxfi.protect.ground import Ground
from onnxfi.protect.pairs import Array, Guards, Shots
from onnxfi.protect.sample import Shoot
from onnxfi.vigor.crew import Crew

Outcomes = NDArray[np.uint8]


class Stand:
    """Opens engines, and closes them all at the end: a context manager. `workers`: processes of each."""

    def __init__(self, ground: Ground, settings: Settings, workers: int) -> None:
        self.ground, self.workers = ground, workers
        self._settings = settings
        self._stack = ExitStack()

    def __enter__(self) -> Stand:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def folder(self) -> Path:
        """An empty one that goes with the stand."""
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="onnxfi-")))

    def prepared(self, network: Network, probe: Probe, rows: NDArray[np.int64], regions: Sequence[Region]) -> Path:
        """A folder prepared for engines on images `rows`."""
        folder = self.folder()
        prepare(network, probe, self.ground.images(rows), regions, self._settings, folder)
        return folder

    def crew(self, folder: Path) -> Crew[Outcomes]:
        """Engines on a prepared folder."""
        crew: Crew[Outcomes] = Crew(folder, self.workers)
        return self._stack.enter_context(crew)

    def look(self, model: Model) -> tuple[Network, Probe]:
        """A model of our own making, read and looked at as any other."""
        path = self.folder() / self.ground.file.path.name
        write(model, path)
        return look(Network.load(path, output=self.ground.network.output), self.ground.dataset.images)


@dataclass(frozen=True)
class Range:
    """Where shots are fired: a crew, the sets of guards of stored words, and how far its regions' numbers lie above
    those that trials have."""

    crew: Crew[Outcomes]
    variants: Sequence[Guards]
    shift: int = 0

    def fire(self, trials: Iterable[Array]) -> Iterator[Outcomes]:
        """Outcomes of many units' trials, in their order."""
        return self.crew.results(Shots(_shifted(some, self.shift), self.variants) for some in trials)


def on(ranges: Sequence[Range]) -> Shoot:
    """The same shots everywhere; their outcomes under all sets of guards, in the order of the ranges."""

    def shoot(trials: Iterable[Array]) -> Iterator[Outcomes]:
        copies = tee(trials, len(ranges))
        answers = [one.fire(mine) for one, mine in zip(ranges, copies, strict=True)]
        for together in zip(*answers, strict=True):
            yield np.concatenate(together)

    return shoot


def _shifted(trials: Array, shift: int) -> Array:
    moved = trials.copy()
    moved["region"] += np.uint32(shift)
    return moved
