"""From a model to a hardened one, end to end: candidates, plan, guards written into the graph, proof."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnxfi.engine.levels import Ratio
from onnxfi.engine.prepare import Settings
from onnxfi.engine.session import resolve_provider
from onnxfi.errors import ModelError, StudyError
from onnxfi.faults.guard import Guard
from onnxfi.graph.cut import Model
from onnxfi.graph.guards import with_guards
from onnxfi.graph.load import read
from onnxfi.graph.write import write
from onnxfi.protect.ask import Remedy
from onnxfi.protect.candidates import Candidates, Caught, caught, weight_guards
from onnxfi.protect.ground import Ground, lay
from onnxfi.protect.options import Option
from onnxfi.protect.plan import choose
from onnxfi.protect.proof import Proof, prove
from onnxfi.protect.stand import Stand
from onnxfi.protect.survey import Clock, Progress, marked, survey
from onnxfi.study.conduct import worker_count
from onnxfi.study.settings import Data, Machine


@dataclass(frozen=True)
class Protection:
    """What was found and done.

    options     by target, with what is on the front and what was chosen
    weights     guards of stored tensors in the hardened model; activations: of activations; live: of weights
    caught      by tensor, what the guard does about single flips of its words
    hardened    the file; None where nothing helps, and then no proof
    latency     of the hardened model over the original, by ONNX Runtime's level of optimisation
    """

    ground: Ground
    remedy: Remedy
    candidates: Candidates
    options: Mapping[str, tuple[Option, ...]]
    weights: Mapping[str, Guard]
    activations: Mapping[str, Guard]
    live: bool
    caught: Mapping[str, Caught]
    hardened: Path | None
    size: int
    nodes: int
    latency: Mapping[str, Ratio]
    proof: Proof | None
    seconds: float

    def chosen(self, target: str) -> Option | None:
        """The option that was taken for a target."""
        return next((option for option in self.options.get(target, ()) if option.chosen), None)


def protect(
    model: Path | str, data: Data, output: Path, remedy: Remedy, machine: Machine, progress: Progress
) -> Protection:
    """Write `model` with the guards that `remedy` allows to `output`, and analyse it beside the original.

    Raises ModelError, DataError, FaultError, ProviderError, EngineError, StudyError: one sentence each.
    """
    started = time.monotonic()
    path = Path(model)
    if output.exists() and path.exists() and output.samefile(path):
        raise ModelError(f"{output} is the model itself; give another file for the hardened one.")
    if machine.scheduler:
        raise StudyError("onnxfi protect runs on this machine only: leave --scheduler out.")
    progress("reading", 0)
    ground = lay(path, data, remedy)
    file = read(path).model
    candidates = weight_guards(ground, file)
    workers = worker_count(machine)
    settings = Settings(machine.exact, resolve_provider(machine.provider), machine.memory // (2 * workers))
    with Stand(ground, settings, workers) as stand:
        found = survey(stand, file, candidates, remedy, progress)
        options = dict(found.options)
        first, second = choose(options.get("weights", ()), options.get("activations", ()), remedy)
        for target, chosen in (("weights", first), ("activations", second)):
            if target in options:
                options[target] = marked(options[target], chosen)
        weights, activations = (dict(o.guards) if o else {} for o in (first, second))
        live = first is not None and first.at == "live"
        made: dict[str, Any] = {"size": 0, "nodes": 0, "latency": {}, "proof": None, "hardened": None}
        if weights or activations:
            made = _made(stand, file, weights, activations, live, remedy, progress)
            write(made.pop("model"), output)
            made["hardened"] = output
    return Protection(
        ground, remedy, candidates, options, weights, activations, live,
        {tensor: caught(guard, ground.network.stored(tensor)) for tensor, guard in weights.items()},
        seconds=time.monotonic() - started, **made,
    )  # fmt: skip


def _made(
    stand: Stand, file: Model, weights: dict[str, Guard], activations: dict[str, Guard], live: bool, remedy: Remedy,
    progress: Progress,
) -> dict[str, Any]:  # fmt: skip
    hardened = with_guards(file, weights, activations, live=live)
    checked = with_guards(file, weights, {}, live=live)
    clips = with_guards(file, {}, activations) if activations else None
    clock = Clock(stand.ground, file, remedy)
    latency: dict[str, Ratio] = {}
    for level in ("none", "all"):
        latency[f"checked, {level}"], latency[level] = clock.of([checked, hardened], level)
    proof = prove(stand, file, hardened, checked, weights, activations, clips, remedy, progress)
    return {
        "model": hardened.model,
        "size": hardened.added_bytes,
        "nodes": hardened.added_nodes,
        "latency": latency,
        "proof": proof,
    }
