"""What a model holds: the object of `onnxfi show --json`, and its tables.

The object is that of `onnxfi.graph.describe.describe`, and more:

    layers[].weight_shape      as stored; null without weights
    layers[].output_shape      of one image, the batch left out; null where it cannot be told
    batch_freed                whether the fixed batch, if there is one, can be freed without another answer
    activations                {input, output, mac}: {sites, faults, skipped} for each kind of activation site, of one
                               image
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from onnxfi.engine.prepare import look
from onnxfi.engine.probe import Probe, Rows
from onnxfi.errors import FaultError
from onnxfi.graph.describe import describe
from onnxfi.graph.network import Network
from onnxfi.report.tables import plain, table, titled
from onnxfi.study.settings import ActivationKind, Target
from onnxfi.study.targets import find_targets


@dataclass(frozen=True)
class Anatomy:
    """`facts`: the object that the module's docstring tells of."""

    facts: dict[str, Any]

    def to_json(self) -> str:
        """The object as text."""
        return json.dumps(self.facts, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def dissect(model: Path | str, output: str | None = None, unshare: bool = False) -> Anatomy:
    """Read and run the model, on noise, to see what it holds. Raises ModelError, EngineError."""
    network = Network.load(model, output=output, unshare=unshare)
    facts = describe(network)
    if None in network.input.shape[1:]:
        facts["notes"].append("The model leaves a size of its input free: shapes and activations are those for 32.")
    network, probe = look(network)
    facts["batch_freed"] = facts["fixed_batch"] is not None and network.fixed_batch is None
    for layer, entry in zip(network.layers, facts["layers"], strict=True):
        kind = probe.kinds.get(layer.output)
        entry["weight_shape"] = list(layer.weight.shape) if layer.weight else None
        entry["output_shape"] = list(kind.shape) if isinstance(kind, Rows) else None
    kinds: tuple[ActivationKind, ...] = ("input", "output", "mac")
    facts["activations"] = {kind: _population(network, probe, kind) for kind in kinds}
    return Anatomy(facts)


def _population(network: Network, probe: Probe, kind: ActivationKind) -> dict[str, Any]:
    try:
        targets = find_targets(network, probe, Target(kind="activations", activation=kind))
    except FaultError as error:
        return {"sites": 0, "faults": 0, "skipped": [str(error)]}
    sites = sum(region.sites for region in targets.space.regions)
    return {"sites": sites, "faults": targets.space.size, "skipped": list(targets.skipped)}


def blocks(anatomy: Anatomy) -> Iterator[RenderableType]:
    """Every block of the tables, in reading order."""
    facts = anatomy.facts
    yield _head(facts)
    yield _layers(facts)
    yield _populations(facts)
    yield from _shared(facts)
    yield from _refused(facts)
    for note in facts["notes"]:
        yield Text.assemble(("Note ", "bold yellow"), plain(note))


def _head(facts: dict[str, Any]) -> RenderableType:
    given = facts["input"]
    fixed = f", batch fixed to {facts['fixed_batch']}" if facts["fixed_batch"] else ""
    fixed += ", which can be freed" if facts["batch_freed"] else ""
    rows = (
        ("model", facts["model"]),
        ("exporter", facts["exporter"] or "not said"),
        ("opset", f"{facts['opset']}, IR {facts['ir_version']}"),
        ("input", f"{given['name']} {given['dtype']} {shape(given['shape'])}{fixed}"),
        ("output", facts["output"]),
        ("BatchNormalization", facts["batch_normalization"]),
    )
    made = table("", "")
    made.show_header = False
    made.columns[1].justify = "left"
    made.columns[1].no_wrap = False
    for name, value in rows:
        made.add_row(name, Text(plain(str(value))))
    return made


def shape(sizes: list[int | None] | None) -> str:
    """'16x3x3x3', '?' for a free size, '-' where it is not known."""
    if sizes is None:
        return "-"
    return "x".join("?" if size is None else str(size) for size in sizes) or "scalar"


def _layers(facts: dict[str, Any]) -> RenderableType:
    title = "Layers"
    made = table("layer", "op", "weight", "of", "output", "sites")
    for column in made.columns[1:5]:
        column.justify = "left"
    for layer in facts["layers"]:
        counted = [p for p in layer["parameters"] if p["role"] == "weight"]
        sites = sum(p["elements"] for p in counted if p["counted"])
        made.add_row(
            Text(plain(layer["layer"])),
            layer["op"],
            shape(layer["weight_shape"]),
            counted[0]["dtype"] if counted else "-",
            shape(layer["output_shape"]),
            f"{sites:,}",
        )
    return titled(title, made)


def _populations(facts: dict[str, Any]) -> RenderableType:
    title = "What a bit flip can hit"
    made = table("", "sites", "faults")
    made.add_row("weights", f"{facts['sites']['weights']:,}", f"{facts['faults']['weights']:,}")
    made.add_row("all parameters", f"{facts['sites']['all']:,}", f"{facts['faults']['all']:,}")
    for kind, count in (facts["activations"] or {}).items():
        made.add_row(f"activations, {kind}, of one image", f"{count['sites']:,}", f"{count['faults']:,}")
    return titled(title, made)


def _shared(facts: dict[str, Any]) -> Iterator[RenderableType]:
    if not facts["shared"]:
        return
    title = "One stored tensor, several readers (--unshare splits them)"
    made = table("tensor", "read by")
    made.columns[1].justify, made.columns[1].no_wrap = "left", False
    for tensor, readers in facts["shared"].items():
        made.add_row(Text(plain(tensor)), Text(plain(", ".join(readers))))
    yield titled(title, made)


def _refused(facts: dict[str, Any]) -> Iterator[RenderableType]:
    refused = [(entry["tensor"], entry["why"]) for entry in facts["refused"]]
    for kind, count in (facts["activations"] or {}).items():
        refused += [(kind, sentence) for sentence in count["skipped"]]
    if not refused:
        return
    title = "Cannot be injected"
    made = table("tensor", "why")
    made.columns[1].justify, made.columns[1].no_wrap = "left", False
    for tensor, why in refused:
        made.add_row(Text(plain(tensor)), Text(plain(why)))
    yield titled(title, made)
