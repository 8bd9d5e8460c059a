"""A network as one plain object: what `onnxfi show --json` prints, but for the shapes that only running it tells."""

from __future__ import annotations

from typing import Any

from onnxfi.faults.bits import Word
from onnxfi.graph.layers import Layer, Parameter
from onnxfi.graph.network import Network


def describe(network: Network) -> dict[str, Any]:
    """JSON-ready facts about the network.

    Keys: `model`, `sha256`, `exporter`, `opset`, `ir_version`, `input` (`name`, `dtype`, `shape` with null for free
    dimensions), `output`, `batch_normalization`, `fixed_batch`, `layers`, `sites` and `faults` (stored numbers and
    their bits, for `weights` and for `all` parameters, each counted once), `shared`, `refused`, `notes`. A layer has
    `layer` (its id), `op`, `node`, `input` (the tensor it reads), `word` (the stored activation behind it), `output`
    and `parameters`: `tensor`, `role`, `shape`, `dtype`, `elements`, `faults`, `readers`, `path`, and `counted`, false
    where an earlier layer reads the same stored tensor and counts it.
    """
    first = {p.tensor: layer.index for layer, p in network.parameters("all")}
    kinds = {which: [p for _, p in network.parameters(which)] for which in ("weights", "all")}
    return {
        "model": str(network.path),
        "sha256": network.sha256,
        "exporter": network.producer,
        "opset": network.opset,
        "ir_version": network.ir_version,
        "input": {"name": network.input.name, "dtype": network.input.dtype, "shape": list(network.input.shape)},
        "output": network.output,
        "batch_normalization": network.batch_norm,
        "fixed_batch": network.fixed_batch,
        "layers": [_layer(layer, first) for layer in network.layers],
        "sites": {which: sum(p.elements for p in ps) for which, ps in kinds.items()},
        "faults": {which: sum(_faults(p) for p in ps) for which, ps in kinds.items()},
        "shared": {tensor: list(readers) for tensor, readers in network.shared.items()},
        "refused": [{"tensor": r.tensor, "why": r.why} for r in network.refused],
        "notes": list(network.notes),
    }


def _layer(layer: Layer, first: dict[str, int]) -> dict[str, Any]:
    return {
        "layer": layer.id,
        "op": layer.op,
        "node": layer.node,
        "input": layer.input,
        "word": layer.word,
        "output": layer.output,
        "parameters": [
            {
                "tensor": p.tensor,
                "role": p.role,
                "shape": list(p.shape),
                "dtype": p.dtype,
                "elements": p.elements,
                "faults": _faults(p),
                "readers": list(p.readers),
                "path": list(p.path),
                "counted": first[p.tensor] == layer.index,
            }
            for p in layer.parameters
        ],
    }


def _faults(parameter: Parameter) -> int:
    """Single-bit faults of one kind in the tensor: one a bit."""
    return parameter.elements * Word(parameter.dtype).width
