"""A study put together, before its first trial: network, images, fault space, plan, identity."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnxfi.study.settings as records
from onnxfi.engine.prepare import Settings, look
from onnxfi.engine.probe import Probe
from onnxfi.engine.session import VERSION, resolve_provider
from onnxfi.faults.space import FaultSpace, Region
from onnxfi.graph.network import Network
from onnxfi.study.dataset import Dataset
from onnxfi.study.identity import Identity
from onnxfi.study.inputs import read_images
from onnxfi.study.question import Question
from onnxfi.study.scheme import Scheme, describe, make_scheme
from onnxfi.study.targets import Targets, find_targets

CRITERION = "top-1"


@dataclass(frozen=True)
class Asked:
    """Every setting of a study, defaults included."""

    target: records.Target
    data: records.Data
    plan: records.Plan
    precision: records.Precision
    machine: records.Machine

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        values = asdict(self)
        values["data"]["paths"] = [str(path) for path in self.data.paths]
        return values


@dataclass(frozen=True)
class Assembly:
    """Everything that a run needs. `about`: what study.json says beside the identity, so that its numbers can be told
    without the model: all but the accuracy, which is not known yet."""

    network: Network
    probe: Probe
    dataset: Dataset
    targets: Targets
    scheme: Scheme
    question: Question
    identity: Identity
    engine: Settings
    asked: Asked
    about: Mapping[str, Any]


def assemble(model: Path | str, asked: Asked, processes: int, keep: Callable[[Region], bool] | None = None) -> Assembly:
    """Read the model and the images, and work out what to draw from; `processes` share the memory.

    keep: which regions of those asked for; None: all.

    Raises ModelError, DataError, FaultError, ProviderError: one sentence for everything that keeps this from running.
    """
    target, plan, machine = asked.target, asked.plan, asked.machine
    provider = "cpu" if machine.exact and machine.provider == "auto" else resolve_provider(machine.provider)
    network = Network.load(model, output=target.output, unshare=target.unshare)
    dataset = read_images(network, asked.data, plan.seed)
    network, probe = look(network, dataset.images)
    targets = find_targets(network, probe, target)
    if keep is not None:
        targets = targets.only(keep)
    described = describe(plan, asked.precision, targets, network.stored)
    scheme = make_scheme(described, asked.precision, targets, len(dataset), network.stored)
    identity = Identity(
        model=network.sha256,
        data={"sha256": dataset.sha256, "images": len(dataset)},
        space={
            "output": network.output,
            "unshare": target.unshare,
            "fault_model": target.fault_model,
            "regions": targets.regions(),
        },
        plan=described,
        seed=plan.seed,
        criterion=CRITERION,
        arithmetic="exact" if machine.exact else "fast",
        provider=provider,
        onnxruntime=VERSION,
    )
    return Assembly(
        network,
        probe,
        dataset,
        targets,
        scheme,
        Question(targets.space, scheme.strata, len(dataset), plan.seed, scheme.crossed),
        identity,
        Settings(machine.exact, provider, machine.memory // processes),
        asked,
        {
            "model": Path(model).name,
            "data": dataset.source,
            "preprocessing": asdict(dataset.preprocessing),
            "warnings": warnings_of(network, dataset, targets.space) + list(targets.skipped),
            "names": targets.names(),
        },
    )


def warnings_of(network: Network, dataset: Dataset, space: FaultSpace) -> list[str]:
    """What a reader of the numbers must know."""
    hit = {region.tensor for region in space.regions}
    found = list(network.notes)
    if dataset.synthetic:
        found.append("The images are synthetic: these rates say nothing about real ones.")
    found += [
        f"{tensor!r} is stored once and read by {len(readers)} nodes, so a fault in it reaches them all "
        "(--unshare splits it)."
        for tensor, readers in network.shared.items()
        if tensor in hit
    ]
    if network.fixed_batch is not None:
        found.append(
            f"The model's batch of {network.fixed_batch} could not be freed: every run takes {network.fixed_batch}."
        )
    return found
