"""Single sites from Python: one of them explained, and how many there are to decide."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from onnxfi.engine.installed import check
from onnxfi.study.settings import Data, Target
from onnxfi.vigor.settings import Sampling

if TYPE_CHECKING:
    from onnxfi.vigor.costs import Count
    from onnxfi.vigor.explain import Explanation


def count(model: Path | str | None = None, *, target: Target | None = None, ratio: float = 0.1) -> tuple[Count, ...]:
    """What DeepVigor+ would decide of `model`, all of it and in a sample, next to the faults of exhaustive and
    statistical injection: by counting, with no images and no analysis.

    model   as in `analyze`
    target  which faults. None: weights and the words that layers read
    ratio   share of the channels that a sample takes

    Raises ModelError, EngineError, FaultError, and StudyError for a ratio that is none.
    """
    check()
    from onnxfi.bundled.stand_in import stand_in
    from onnxfi.engine.prepare import look
    from onnxfi.graph.network import Network
    from onnxfi.study.targets import find_targets
    from onnxfi.vigor.costs import counts

    target = target or Target()
    Sampling(channels=ratio)  # refuses what is no share
    path, _ = stand_in(model, Data())
    network = Network.load(path, output=target.output, unshare=target.unshare)
    network, probe = look(network)
    return counts(find_targets(network, probe, target), network, ratio)


def explain(site: str, model: Path | str | None = None, *, data: Data | None = None, seed: int = 0) -> Explanation:
    """Every flip of one stored number run on every image: its range, its bits, its errors.

    site  'TENSOR[i,j,...]', a parameter or an activation, whose index leaves the batch out
    model, data  as in `analyze`; seed: of the subset of `data.images`

    Raises ModelError, DataError, EngineError, and FaultError for a site that does not exist.
    """
    check()
    from onnxfi.bundled.stand_in import stand_in
    from onnxfi.vigor import explain as room

    model, data = stand_in(model, data or Data())
    return room.explain(model, site, data, seed)
