"""One site, explained: what its flips do to the word, on how many images they change the answer, its range (Fig. 7)."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onnxfi.engine.deviation import Deviations
from onnxfi.engine.prepare import Settings, look, prepare
from onnxfi.errors import FaultError, StudyError
from onnxfi.faults.space import Region
from onnxfi.faults.spec import Stored, parse_fault
from onnxfi.graph.network import Network
from onnxfi.study.inputs import read_images
from onnxfi.study.settings import Data, Target
from onnxfi.study.targets import find_targets
from onnxfi.vigor.candidates import flipped
from onnxfi.vigor.deepvigor_plus import Pairs
from onnxfi.vigor.edm import histogram
from onnxfi.vigor.order import Order


@dataclass(frozen=True)
class Explanation:
    """Of one site, every flip run on every image.

    values      (I,): the fault-free word for each image; of a weight always the same
    bits        from high to low
    deviations  (I, B): faulty word less fault-free word, float64
    critical    (B,): share of the images on which each bit is critical
    non_finite  (B,): share of the images on which it leaves a logit NaN or infinite, critical, too
    lower, upper  (I,): delta- and delta+, infinite where no deviation is critical
    map         (44,): error distribution map over all images and bits, at the edges of onnxfi.vigor.edm
    """

    tensor: str
    index: tuple[int, ...]
    kind: str
    layer: str
    values: NDArray[np.float64]
    bits: tuple[int, ...]
    deviations: NDArray[np.float64]
    critical: NDArray[np.float64]
    non_finite: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    map: NDArray[np.float64]


def explain(model: Path | str, site: str, data: Data, seed: int = 0) -> Explanation:
    """Explain `site`, written 'TENSOR[i,j,...]': a parameter, or an activation (a word that a layer reads or writes).

    Raises ModelError, DataError, EngineError, and FaultError for a site that does not exist.
    """
    network = Network.load(model)
    dataset = read_images(network, data, seed)
    network, probe = look(network, dataset.images)
    names = {layer.index: layer.id for layer in network.layers}
    regions: list[Region] = []
    shapes: dict[str, Stored] = {}
    for asked in (Target("weights", parameters="all"), Target("activations", "input"), Target("activations", "output")):
        try:
            found = find_targets(network, probe, asked).space.regions
        except FaultError:
            continue
        regions += [region for region in found if region.tensor not in {other.tensor for other in regions}]
    parameters = {p.tensor: p.shape for _, p in network.parameters("all")}
    for region in regions:
        rows = parameters.get(region.tensor) or probe.rows(region.tensor).shape
        shapes[region.tensor] = Stored(region.dtype, rows)
    ((place, _),) = parse_fault(f"{site}:flip@0", shapes).pairs
    region = next(region for region in regions if region.tensor == place.tensor)
    order = Order(region.dtype)
    if order.word.mantissa is None:
        raise StudyError(f"{region.tensor!r} holds {region.dtype}: sites of floats are explained.")
    image = np.arange(len(dataset))
    sites = np.full(len(dataset), place.index)
    with tempfile.TemporaryDirectory(prefix="onnxfi-") as folder:
        prepare(network, probe, dataset.images, (region,), Settings(), Path(folder))
        engine = Deviations(Path(folder))
        part = Pairs(0, False, region.bits, image, sites, np.ones(len(image), bool)).run(engine)
        values = engine.stored(0, image, sites)
        engine.close()
    with np.errstate(all="ignore"):
        changed = flipped(order, values, region.bits).astype(np.float64)
        deviations = changed - values.astype(np.float64)[:, None]
    index = tuple(int(i) for i in np.unravel_index(place.index, shapes[region.tensor].shape))
    return Explanation(
        region.tensor,
        index,
        region.kind,
        names[region.layer],
        values.astype(np.float64),
        region.bits,
        deviations,
        part.hits.mean(axis=0).astype(np.float64),
        part.wild.mean(axis=0).astype(np.float64),
        part.lower.astype(np.float64),
        part.upper.astype(np.float64),
        histogram(deviations.reshape(1, -1))[0],
    )
