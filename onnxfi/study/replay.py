"""A fault list replayed on a model: put together, before its first trial."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.engine.prepare import Settings, look
from onnxfi.engine.probe import Probe
from onnxfi.engine.session import VERSION, resolve_provider
from onnxfi.errors import FaultError
from onnxfi.faults.bits import Word
from onnxfi.faults.forms import Form
from onnxfi.faults.listing import FaultList, Place, fault_ids, read_list
from onnxfi.faults.space import FaultSpace, Region
from onnxfi.faults.writing import list_text, own_format
from onnxfi.graph.network import Network
from onnxfi.study.assembly import CRITERION, warnings_of
from onnxfi.study.blocks import Blocks, block_images
from onnxfi.study.dataset import Dataset
from onnxfi.study.identity import Identity
from onnxfi.study.inputs import read_images
from onnxfi.study.journal import LISTED
from onnxfi.study.list_settings import Meet
from onnxfi.study.listed import How, Matched, Weight, find, settle_form, twins, weights
from onnxfi.study.names import towards
from onnxfi.study.settings import Data, Machine


@dataclass(frozen=True)
class Replay:
    """Everything that a replay needs. `order` (rows,): the list's rows, sorted by layer; `ids` in that order.

    about: what study.json says beside the identity, so that results can be written without model and list.
    """

    network: Network
    probe: Probe
    dataset: Dataset
    space: FaultSpace
    ids: NDArray[np.uint64]
    order: NDArray[np.int64]
    blocks: Blocks
    identity: Identity
    engine: Settings
    about: Mapping[str, Any]


def assemble(path: Path | str, model: Path | str, data: Data, meet: Meet, machine: Machine, processes: int) -> Replay:
    """Read list, model and images, and find the list's faults in the model; `processes` share the memory.

    An initializer that several nodes read is split: a list counts each layer's weight as its own.
    Raises FaultError, ModelError, DataError, ProviderError: one sentence for everything that keeps this from running.
    """
    listed = read_list(Path(path))
    provider = "cpu" if machine.exact and machine.provider == "auto" else resolve_provider(machine.provider)
    network = Network.load(model, unshare=True)
    dataset = read_images(network, data, 0)
    network, probe = look(network, dataset.images)
    found = locate(listed, network, meet)
    form = settle_form(meet.form, listed, {name: weight for name, (weight, _) in found.items()}, network)
    space, ids = _faults(listed, {name: weight for name, (weight, _) in found.items()}, form)
    region = space.locate(ids)[0]
    order = np.argsort(region, kind="stable")
    blocks = Blocks(len(dataset), block_images(network, list(space.regions), probe, len(dataset)), region[order])
    identity = Identity(
        model=network.sha256,
        data={"sha256": dataset.sha256, "images": len(dataset)},
        space={"output": network.output, "unshare": True, "fault_model": "bit-flip", "regions": _plain(space)},
        plan={"kind": LISTED, "faults": len(ids), "block": blocks.size, "sha256": _digest(ids)},
        seed=0,
        criterion=CRITERION,
        arithmetic="exact" if machine.exact else "fast",
        provider=provider,
        onnxruntime=VERSION,
    )
    about = {
        "model": Path(model).name,
        "data": dataset.source,
        "preprocessing": asdict(dataset.preprocessing),
        "labels": dataset.labels is not None,
        "warnings": [*_warnings(network, list(found.values())), *warnings_of(network, dataset, space)],
        "form": form,
        "matched": [asdict(Matched(name, w.layer.id, w.parameter.tensor, how)) for name, (w, how) in found.items()],
        "list": list_text(listed, own_format(listed)),
        "source": Path(path).name,
    }
    settings = Settings(machine.exact, provider, machine.memory // processes)
    return Replay(network, probe, dataset, space, ids[order], order, blocks, identity, settings, about)


def locate(listed: FaultList, network: Network, meet: Meet) -> dict[str, tuple[Weight, How]]:
    """The weight of each of the list's layers, and how it was found.

    FaultError names the first layer that is not there, and what to do.
    """
    partner = towards(Path(meet.match), listed.layers) if meet.match else {name: name for name in listed.layers}
    known = find(list(partner.values()), network)
    if meet.names_from is not None and len(known) < len(partner):
        reference = Network.load(meet.names_from, unshare=True)
        named = {name: weight for name, (weight, _) in find(list(partner.values()), reference).items()}
        known = {**{name: (twin, "weights") for name, twin in twins(named, reference, network).items()}, **known}
    for name in listed.layers:
        if partner[name] not in known:
            raise FaultError(_missing(listed, name, partner[name], network, meet))
    return {name: known[partner[name]] for name in listed.layers}


def _missing(listed: FaultList, name: str, partner: str, network: Network, meet: Meet) -> str:
    called = repr(name) if name == partner else f"{name!r}, here {partner!r},"
    if meet.names_from is not None:
        return (
            f"{listed.source}: layer {called} is not in {network.path.name} by name, and no weight there holds the "
            f"numbers that {Path(meet.names_from).name} has for it: the two are not of one training, or "
            "BatchNormalization is folded into one of them."
        )
    some = ", ".join(weight.layer.id for weight in weights(network)[:5])
    return (
        f"{listed.source}: layer {called} is not in {network.path.name}, which has {some}, ...: give --match with the "
        "pairs of names, or --names-from a model that has the list's names and the same weights."
    )


def _faults(listed: FaultList, found: Mapping[str, Weight], form: Form) -> tuple[FaultSpace, NDArray[np.uint64]]:
    """The weights that the list names as a fault space, in the network's order, and the fault of each row."""
    used = sorted({w.parameter.tensor: w for w in found.values()}.values(), key=lambda w: w.layer.index)
    regions = []
    for weight in used:
        p = weight.parameter
        bits = tuple(range(Word(p.dtype).width - 1, -1, -1))
        regions.append(Region("weights", "weight", weight.layer.index, p.tensor, p.elements, p.dtype, bits))
    space = FaultSpace(regions)
    number = {weight.parameter.tensor: place for place, weight in enumerate(used)}
    rows: dict[str, list[tuple[int, ...]]] = {}
    for entry in listed.entries:
        rows.setdefault(entry.layer, []).append(entry.index)
    places = {
        name: Place(number[weight.parameter.tensor], weight.view(form, name, rows[name]))
        for name, weight in found.items()
    }
    return space, fault_ids(listed, places, space)


def _plain(space: FaultSpace) -> list[dict[str, Any]]:
    return [asdict(region) | {"bits": hex(sum(1 << bit for bit in region.bits))} for region in space.regions]


def _digest(ids: NDArray[np.uint64]) -> str:
    return hashlib.sha256(ids.astype("<u8").tobytes()).hexdigest()


def _warnings(network: Network, found: Sequence[tuple[Weight, How]]) -> list[str]:
    """What a name alone does not show: a folded weight is another word than the one that a list means."""
    if network.batch_norm not in ("folded", "none or folded") or all(how == "weights" for _, how in found):
        return []
    state = "is" if network.batch_norm == "folded" else "may be"
    return [
        f"BatchNormalization {state} folded into this file's weights: then they are not the words that a list drawn on "
        "the framework's own network means (--names-from finds layers by their numbers)."
    ]
