"""Once before a study: everything that its engines share, worked out and written into one folder."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

import numpy as np

from onnxfi.engine.golden import Golden
from onnxfi.engine.piecewise import opened
from onnxfi.engine.probe import Mixed, Probe, Rows, examine
from onnxfi.engine.route import Route, find_route, golden_tensors
from onnxfi.engine.session import STEP, Session
from onnxfi.errors import EngineError
from onnxfi.faults.space import Region
from onnxfi.graph.batch import free_batch
from onnxfi.graph.cut import Model, with_outputs
from onnxfi.graph.macs import macs
from onnxfi.graph.network import Network
from onnxfi.graph.outside import anchored, externalize

Array = np.ndarray[Any, Any]
_GOLDEN_BYTES = 32 << 20
_FILE = "prepared.pickle"


@dataclass(frozen=True)
class Settings:
    """How trials are run. `memory`: bytes for one engine. `provider`: 'cpu' or 'cuda', already resolved."""

    exact: bool = False
    provider: str = "cpu"
    memory: int = 2 << 30


@dataclass(frozen=True)
class Prepared:
    """What is written for the engines of one study: the model, lightened of its weights, and what is known of it.

    Sub-graphs of `model` find the weights beside their own file, `graph.outside.values` those of `network.model`.
    """

    network: Network
    model: Model
    probe: Probe
    routes: tuple[Route, ...]
    golden: tuple[str, ...]
    images: int
    settings: Settings
    macs: dict[str, int]

    def save(self, folder: Path) -> None:
        """Write to `folder`."""
        with (folder / _FILE).open("wb") as file:
            pickle.dump(self, file)

    @staticmethod
    def load(folder: Path) -> Prepared:
        """Read what `save` wrote: a private folder of onnxfi's own, never a file of the user's."""
        with (folder / _FILE).open("rb") as file:
            prepared: Prepared = pickle.load(file)  # noqa: S301 (written by `save`)
        return replace(prepared, network=replace(prepared.network, model=anchored(prepared.model, folder)))


def look(network: Network, images: Array | None = None) -> tuple[Network, Probe]:
    """How every tensor of `network` is made of images, and the network with its batch freed where that is proven safe.

    `images` (n, *shape) as the model takes them; random ones by default.
    """
    if images is None:
        images = _random_images(network)
    if network.fixed_batch is not None:
        freed = free_batch(network.model)
        if freed is not None and _same_answers(network, freed, images):
            network = _with_model(network, freed)
        else:
            return network, _probe(network, images, network.fixed_batch)
    return network, _probe(network, images, None)


def prepare(
    network: Network, probe: Probe, images: Array, regions: Sequence[Region], settings: Settings, folder: Path
) -> None:
    """Find each region's route, run the golden pass, and write it all to `folder`.

    `network` and `probe` as `look` gave them, on these images or on others; `images` (n, *shape) as the model takes
    them. Raises EngineError where a region cannot be reached.
    """
    if settings.exact and settings.provider != "cpu":
        raise EngineError("Exact runs are CPU runs: leave --exact out, or take --provider cpu.")
    output = probe.kinds.get(network.output)
    if not isinstance(output, Rows):
        why = output.why if isinstance(output, Mixed) else "it does not depend on the image"
        raise EngineError(f"Output {network.output!r} gives no answer for each image: {why}.")
    routes = tuple(find_route(network, region, probe) for region in regions)
    light = externalize(network.model, folder)
    names = golden_tensors(network, routes, probe)
    golden = Golden(folder, names, len(images), probe)
    whole = Session(_saved(light, names, network, folder), what="the whole model")
    golden.write(whole, network.input.name, images, probe.batch or _chunk(probe, names))
    _check_finite(golden[network.output])
    sizes = {name: kind.shape for name, kind in probe.kinds.items() if isinstance(kind, Rows)}
    sizes.update({tensor.name: tuple(tensor.dims) for tensor in network.model.graph.initializer})
    known = macs(network.model, sizes)
    network = replace(network, model=light)
    Prepared(network, light, probe, routes, names, len(images), settings, known).save(folder)


def _probe(network: Network, images: Array, batch: int | None) -> Probe:
    with _lightened(network.model) as (light, folder):
        return examine(light, folder, network.input.name, _distinct(images), batch, what=f"{network.path}")


def _distinct(images: Array) -> Array:
    """At least 2 * STEP images: what there is, rolled along its last axis where it is too little."""
    rolled = [np.roll(images, shift, axis=-1) for shift in range(-(-2 * STEP // len(images)))]
    return np.concatenate(rolled) if len(rolled) > 1 else images


def _random_images(network: Network) -> Array:
    shape = [2 * STEP, *(d or 32 for d in network.input.shape[1:])]
    dtype = np.dtype(network.input.dtype)
    rng = np.random.default_rng(0)
    if np.issubdtype(dtype, np.integer):
        return rng.integers(0, 100, shape).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


def _same_answers(network: Network, freed: Model, images: Array) -> bool:
    """Whether the freed model answers two batches at once as the model does at its own batch, within rounding."""
    batch = network.fixed_batch or 1
    some = _distinct(images)[np.arange(2 * batch) % len(_distinct(images))]
    try:
        wanted = np.concatenate(_answers(network, network.model, [some[:batch], some[batch:]]))
        (together,) = _answers(network, freed, [some])
    except EngineError:
        return False
    return together.shape == wanted.shape and bool(np.allclose(together, wanted, rtol=1e-4, atol=1e-6))


def _answers(network: Network, model: Model, batches: Sequence[Array]) -> list[Array]:
    """What `model`, a form of the network's, gives for each batch."""
    with _lightened(model) as (light, folder):
        session = opened(light, folder, what=f"{network.path}")
        return [session.run({network.input.name: some}, [network.output])[0] for some in batches]


@contextmanager
def _lightened(model: Model) -> Iterator[tuple[Model, Path]]:
    """`model` with its weights in a folder, and that folder, which is gone afterwards."""
    try:
        with TemporaryDirectory(prefix="onnxfi-") as name:
            yield externalize(model, Path(name)), Path(name)
    except OSError as error:
        raise EngineError(
            f"The model's weights cannot be written to {gettempdir()} ({error.strerror}): make room there, or set "
            "TMPDIR to another folder."
        ) from error


def _with_model(network: Network, model: Model) -> Network:
    return replace(network, model=model, fixed_batch=None)


def _saved(model: Model, names: Sequence[str], network: Network, folder: Path) -> Path:
    path = folder / "golden.onnx"
    path.write_bytes(with_outputs(model, [name for name in names if name != network.input.name]).SerializeToString())
    return path


def _chunk(found: Probe, names: Sequence[str]) -> int:
    each = sum(found.rows(name).size * np.dtype(found.rows(name).dtype).itemsize for name in names)
    return max(1, int(np.clip(_GOLDEN_BYTES // max(each, 1), 0, 64)) // STEP) * STEP


def _check_finite(logits: Array) -> None:
    if not np.issubdtype(logits.dtype, np.integer):
        bad = ~np.isfinite(logits.astype(np.float64)).reshape(len(logits), -1).all(axis=1)
        if bad.any():
            raise EngineError(
                f"The fault-free model gives a non-finite output for image {int(bad.argmax())} "
                f"({int(bad.sum())} images in all): check the preprocessing, or leave these images out."
            )
