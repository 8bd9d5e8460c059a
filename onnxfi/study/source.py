"""How a process comes by its engine: from the study's own folder, or, on another machine, from what it is sent."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.engine.engine import Engine
from onnxfi.engine.freed import give_back
from onnxfi.engine.prepare import Settings, look, prepare
from onnxfi.engine.probe import Probe
from onnxfi.errors import EngineError
from onnxfi.faults.space import Region
from onnxfi.graph.network import Network
from onnxfi.metrics.facts import JUDGED, judge
from onnxfi.study import place

_WORK = ".work-"


class Opened:
    """An engine as a bench wants it; `close` also removes the folder that was made for it alone."""

    def __init__(self, engine: Engine, own: Path | None = None) -> None:
        self._engine, self._own = engine, own

    @property
    def image_inferences(self) -> int:
        return self._engine.cost.image_inferences

    @property
    def equivalent_inferences(self) -> float:
        return self._engine.cost.equivalent_inferences

    def run(self, trials: NDArray[Any]) -> NDArray[Any]:
        """RECORD (T,) of TRIAL (T,), in the same order."""
        return self._engine.run(trials)

    def judge(self, trials: NDArray[Any], labels: NDArray[np.int64] | None) -> NDArray[Any]:
        """metrics.facts.JUDGED (T,) of TRIAL (T,), in the same order; labels (images,) by image."""
        found = np.zeros(len(trials), JUDGED)
        for mine, golden, faulty in self._engine.answers(trials):
            image = trials["image"][mine]
            known = None if labels is None else labels[image]
            found[mine] = judge(golden, faulty, self._engine.golden_class[image], known)
        found["fault"] = trials["fault"]
        return found

    def close(self) -> None:
        if self._own is not None:
            shutil.rmtree(self._own, ignore_errors=True)


@dataclass(frozen=True)
class Here:
    """For processes of this machine: the folder that was prepared once for all of them."""

    folder: Path

    def open(self) -> Opened:
        return Opened(Engine(self.folder))


@dataclass(frozen=True)
class Elsewhere:
    """For processes that may run on other machines: all that it takes to prepare an engine there.

    The model is looked at there too: its rows' bits may depend on their place on one machine and not on another.
    `golden`: the golden classes, (N,), that the study began with.
    """

    network: Network
    images: NDArray[Any]
    regions: tuple[Region, ...]
    settings: Settings
    golden: NDArray[np.int64]

    def open(self) -> Opened:
        """Raises EngineError where this machine's golden classes are not those of the study."""
        folder = Path(tempfile.mkdtemp(prefix="onnxfi-"))
        try:
            prepare(*look(self.network, self.images), self.images, self.regions, self.settings, folder)
            engine = Engine(folder)
            differ = np.flatnonzero(engine.golden_class != self.golden)
            if len(differ):
                raise EngineError(
                    f"this machine's ONNX Runtime gives image {differ[0]} another fault-free class than the study's "
                    f"({len(differ)} images in all): leave this worker out"
                )
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return Opened(engine, folder)


@contextmanager
def workshop(folder: Path) -> Iterator[Path]:
    """A folder inside a study's for what its engines share; gone afterwards."""
    with place.trouble(folder):
        made = Path(tempfile.mkdtemp(prefix=_WORK, dir=folder))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def sweep(folder: Path, mine: Path) -> None:
    """Remove the workshops that killed runs left behind; only for the holder of the study's lock."""
    for left in folder.glob(f"{_WORK}*"):
        if left != mine:
            shutil.rmtree(left, ignore_errors=True)


def prepared(
    network: Network, probe: Probe, images: NDArray[Any], regions: Sequence[Region], settings: Settings, folder: Path
) -> Engine:
    """Prepare the engines' folder and open one here. Raises EngineError, and StudyError for a full disk."""
    with place.trouble(folder):
        prepare(network, probe, images, regions, settings, folder)
        engine = Engine(folder)
    give_back()
    return engine
