"""From what is asked to a fault space: which regions of this network, and which layer answers for each of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, cast

from onnxfi.engine.probe import Probe
from onnxfi.engine.route import find_route
from onnxfi.errors import EngineError, FaultError
from onnxfi.faults.bits import Word
from onnxfi.faults.space import FaultModel, FaultSpace, Kind, Region
from onnxfi.graph.channels import Channels, activation_axis, parameter_channels
from onnxfi.graph.network import Layer, Network
from onnxfi.study.settings import Target


@dataclass(frozen=True)
class LayerName:
    """A layer as far as a study that is done needs to know it. `index`: its place in the network."""

    index: int
    id: str
    op: str


@dataclass(frozen=True)
class Targets:
    """A fault space with its layers: all that tables need of a network, in plain values.

    layers    those asked for, in topological order
    channels  of each region, by its sites
    readers   activation tensor -> indices of the layers asked for that read the words; more than one only for inputs.
              The region stands under the first of them
    outputs   layer index -> elements of its op's output for one image (N_l of Eq. 15)
    skipped   sentences: what was asked for and cannot be injected
    """

    space: FaultSpace
    layers: tuple[LayerName, ...]
    channels: tuple[Channels, ...]
    readers: Mapping[str, tuple[int, ...]]
    outputs: Mapping[int, int]
    skipped: tuple[str, ...]

    def activation_tensor(self, layer: int) -> str | None:
        """The tensor that holds the activations of the layer of this index; None where it has none."""
        return next((tensor for tensor, indices in self.readers.items() if layer in indices), None)

    def home(self, target: str, layer: int) -> int | None:
        """The layer under which the target's words that `layer` reads are counted; None where there are none."""
        if target == "activations":
            tensor = self.activation_tensor(layer)
            return self.readers[tensor][0] if tensor is not None else None
        return layer if self.weight_sites(layer) else None

    def weight_sites(self, layer: int) -> int:
        """W_l of Eq. 15: the sites that are counted under this layer."""
        return sum(r.sites for r in self.space.regions if r.target == "weights" and r.layer == layer)

    def only(self, keep: Callable[[Region], bool]) -> Targets:
        """The targets with those regions that are kept. FaultError where none is."""
        pairs = [p for p in zip(self.space.regions, self.channels, strict=True) if keep(p[0])]
        if not pairs:
            raise FaultError("Nothing is left to be injected.")
        tensors = {region.tensor for region, _ in pairs}
        return replace(
            self,
            space=FaultSpace([region for region, _ in pairs], self.space.fault_model),
            channels=tuple(channels for _, channels in pairs),
            readers={tensor: indices for tensor, indices in self.readers.items() if tensor in tensors},
        )

    def regions(self) -> list[dict[str, Any]]:
        """The regions as plain JSON values, for a study's identity; bits as a mask."""
        return [asdict(r) | {"bits": hex(sum(1 << bit for bit in r.bits))} for r in self.space.regions]

    def names(self) -> dict[str, Any]:
        """Everything else as plain JSON values; `restore` reads both back."""
        return {
            "layers": [asdict(layer) for layer in self.layers],
            "channels": [asdict(channels) for channels in self.channels],
            "readers": {tensor: list(indices) for tensor, indices in self.readers.items()},
            "outputs": {str(index): count for index, count in self.outputs.items()},
            "skipped": list(self.skipped),
        }

    @classmethod
    def restore(cls, fault_model: str, regions: Sequence[Mapping[str, Any]], names: Mapping[str, Any]) -> Targets:
        """What `regions` and `names` wrote."""
        return cls(
            FaultSpace([_region(values) for values in regions], cast(FaultModel, fault_model)),
            tuple(LayerName(**layer) for layer in names["layers"]),
            tuple(Channels(c["count"], tuple((a, b, f) for a, b, f in c["terms"])) for c in names["channels"]),
            {tensor: tuple(indices) for tensor, indices in names["readers"].items()},
            {int(index): count for index, count in names["outputs"].items()},
            tuple(names["skipped"]),
        )


def _region(values: Mapping[str, Any]) -> Region:
    mask = int(values["bits"], 16)
    return Region(**{**values, "bits": tuple(bit for bit in reversed(range(64)) if mask >> bit & 1)})


def find_targets(network: Network, probe: Probe, asked: Target) -> Targets:
    """The fault space of `asked` in `network`, as `probe` found it.

    Raises FaultError when no layer matches, no bit is left, or nothing can be injected.
    """
    layers = _chosen(network, asked)
    skipped: list[str] = []
    found: list[tuple[Region, Channels]] = []
    readers: dict[str, tuple[int, ...]] = {}
    if asked.kind != "activations":
        found += _weights(network, layers, asked)
    if asked.kind != "weights":
        for region, channels, indices in _activations(network, probe, layers, asked, skipped):
            found.append((region, channels))
            readers[region.tensor] = indices
    kept = [pair for pair in found if _reached(network, probe, pair[0], skipped)]
    if not kept:
        why = skipped[0] if skipped else "no layer that was chosen holds any of the bits and parameters asked for."
        raise FaultError(f"Nothing can be injected into {network.path.name}: {why}")
    tensors = {region.tensor for region, _ in kept}
    return Targets(
        FaultSpace([region for region, _ in kept], asked.fault_model),
        tuple(LayerName(layer.index, layer.id, layer.op) for layer in layers),
        tuple(channels for _, channels in kept),
        {tensor: indices for tensor, indices in readers.items() if tensor in tensors},
        {layer.index: n for layer in layers if (n := _outputs(layer, probe)) is not None},
        tuple(skipped),
    )


def _chosen(network: Network, asked: Target) -> tuple[Layer, ...]:
    if not network.layers:
        raise FaultError(
            f"{network.path.name} has no layer with weights (Conv, ConvTranspose, Gemm, MatMul), so there is no site."
        )
    if not asked.layers:
        return network.layers
    for glob in asked.layers:
        if not any(fnmatchcase(layer.id, glob) for layer in network.layers):
            some = ", ".join(layer.id for layer in network.layers[:3])
            raise FaultError(f"--layers {glob!r} matches no layer of {network.path.name}, whose layers are {some}, ...")
    return tuple(layer for layer in network.layers if any(fnmatchcase(layer.id, glob) for glob in asked.layers))


def _weights(network: Network, layers: Sequence[Layer], asked: Target) -> list[tuple[Region, Channels]]:
    wanted = {layer.index for layer in layers}
    found = []
    for layer, p in network.parameters(asked.parameters):
        bits = chosen_bits(asked.bits, p.dtype)
        if layer.index in wanted and p.elements and bits:
            region = Region("weights", cast(Kind, p.role), layer.index, p.tensor, p.elements, p.dtype, bits)
            found.append((region, parameter_channels(network, layer, p)))
    return found


def _activations(
    network: Network, probe: Probe, layers: Sequence[Layer], asked: Target, skipped: list[str]
) -> list[tuple[Region, Channels, tuple[int, ...]]]:
    """Each tensor once, with the layers that read (or write) it."""
    by_tensor: dict[str, list[Layer]] = {}
    for layer in layers:
        by_tensor.setdefault(layer.word if asked.activation == "input" else layer.output, []).append(layer)
    found = []
    for tensor, members in by_tensor.items():
        first = members[0]
        try:
            row = probe.rows(tensor)
            bits = chosen_bits(asked.bits, row.dtype)
        except (EngineError, FaultError) as error:
            skipped.append(f"Activations of layer {first.id!r} are left out: {error}")
            continue
        if not bits:
            continue
        channels = Channels.along(row.shape, _row_axis(network, probe, first, tensor))
        operands = 1
        if asked.activation == "mac":
            operands = max(1, first.weight.elements // channels.count) if first.weight else 1
            channels = Channels(channels.count, tuple((s * operands, n, f) for s, n, f in channels.terms))
        region = Region("activations", asked.activation, first.index, tensor, row.size, row.dtype, bits, operands)
        found.append((region, channels, tuple(layer.index for layer in members)))
    return found


def _row_axis(network: Network, probe: Probe, layer: Layer, tensor: str) -> int:
    """The channel axis in one image's row; out of range where the channel axis is the batch's own."""
    layout = probe.rows(tensor).layout
    axis = activation_axis(network, layer, tensor)
    if axis < 0 or layout.repeat > 1 or axis < layout.axis:
        return axis
    return axis - 1 if axis > layout.axis else len(layout.shape)


def _reached(network: Network, probe: Probe, region: Region, skipped: list[str]) -> bool:
    """Whether the engine has a way to the region; else a sentence in `skipped`."""
    try:
        find_route(network, region, probe)
    except EngineError as error:
        skipped.append(f"{region.target.capitalize()} at {region.tensor!r} are left out: {error}")
        return False
    return True


def _outputs(layer: Layer, probe: Probe) -> int | None:
    try:
        return math.prod(probe.rows(layer.output).shape)
    except EngineError:
        return None


def chosen_bits(text: str | None, dtype: str) -> tuple[int, ...]:
    """The positions that `text` ('30', '23-30', 'sign', 'exponent', 'mantissa', joined by commas) names in `dtype`.

    From high to low; those that the dtype does not have are left out, so that one text serves a model of many dtypes.
    FaultError where the text is none of these.

    >>> chosen_bits('sign,23-25', 'float32')
    (31, 25, 24, 23)
    """
    word = Word(dtype)
    if text is None:
        return tuple(range(word.width - 1, -1, -1))
    fields = _fields(word)
    bits: set[int] = set()
    for part in (piece.strip() for piece in text.split(",")):
        low, dash, high = (piece.strip() for piece in part.partition("-"))
        if part in ("sign", "exponent", "mantissa"):
            bits |= set(fields.get(part, ()))
        elif low.isdecimal() and (high.isdecimal() or not dash):
            ends = sorted((int(low), int(high or low)))
            bits |= set(range(ends[0], min(ends[1], word.width) + 1))
        else:
            raise FaultError(f"--bits has {part!r}; give positions such as 30 or 23-30, or sign, exponent, mantissa.")
    return tuple(sorted((bit for bit in bits if bit < word.width), reverse=True))


def _fields(word: Word) -> dict[str, Any]:
    """The parts of a word; of an integer, only a sign."""
    if word.mantissa is None:
        return {} if word.dtype.startswith("u") else {"sign": [word.width - 1]}
    return {
        "sign": [word.width - 1],
        "exponent": range(word.mantissa, word.width - 1),
        "mantissa": range(word.mantissa),
    }
