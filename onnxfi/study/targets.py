"""From what is asked to a fault space: which regions of this network, and which layer answers for each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Protocol, cast

from onnxfi.errors import EngineError, FaultError
from onnxfi.faults.bits import Word
from onnxfi.faults.space import FaultSpace, Kind, Region
from onnxfi.graph.network import Layer, Network
from onnxfi.study.settings import Target

_MAC_OPS = ("Conv", "Gemm", "MatMul")


class RowSpec(Protocol):
    """One image's share of an activation tensor: its shape and the numpy name of its dtype."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> str: ...


class Rows(Protocol):
    """Where activations' shapes come from: EngineError, by name, for a tensor that is not made of rows."""

    def rows(self, tensor: str) -> RowSpec: ...


@dataclass(frozen=True)
class Targets:
    """A fault space with its layers.

    layers   those asked for, in topological order
    readers  activation tensor -> indices of the layers asked for that read the words; only with `activation` 'input'
             can it be more than one. The region stands under the first of them
    outputs  layer index -> elements of its op's output for one image (N_l of Eq. 15)
    skipped  sentences: what was asked for and cannot be injected
    """

    space: FaultSpace
    layers: tuple[Layer, ...]
    readers: Mapping[str, tuple[int, ...]]
    outputs: Mapping[int, int]
    skipped: tuple[str, ...]

    def activation_home(self, layer: int) -> int | None:
        """The layer under which the activations of `layer` are counted; None where it has none."""
        return next((indices[0] for indices in self.readers.values() if layer in indices), None)

    def activation_tensor(self, layer: int) -> str | None:
        """The tensor that holds the activations of `layer`."""
        return next((tensor for tensor, indices in self.readers.items() if layer in indices), None)


def find_targets(network: Network, rows: Rows, asked: Target) -> Targets:
    """The fault space of `asked` in `network`.

    Raises FaultError when no layer matches, no bit is left, or nothing can be injected.
    """
    layers = _chosen(network, asked)
    skipped: list[str] = []
    regions: list[Region] = []
    readers: dict[str, tuple[int, ...]] = {}
    if asked.kind != "activations":
        regions += _weights(network, layers, asked, skipped)
    if asked.kind != "weights":
        found = _activations(layers, rows, asked, skipped)
        regions += [region for region, _ in found]
        readers = {region.tensor: indices for region, indices in found}
    if not regions:
        why = skipped[0] if skipped else "no layer that was chosen holds any of the bits and parameters asked for."
        raise FaultError(f"Nothing can be injected into {network.path.name}: {why}")
    outputs = {layer.index: n for layer in layers if (n := _outputs(layer, rows)) is not None}
    return Targets(FaultSpace(regions, asked.fault_model), layers, readers, outputs, tuple(skipped))


def _chosen(network: Network, asked: Target) -> tuple[Layer, ...]:
    if not network.layers:
        raise FaultError(
            f"{network.path.name} has no layer with weights (Conv, ConvTranspose, Gemm, MatMul), so there is no site."
        )
    if not asked.layers:
        return network.layers
    chosen = tuple(layer for layer in network.layers if any(fnmatchcase(layer.id, glob) for glob in asked.layers))
    for glob in asked.layers:
        if not any(fnmatchcase(layer.id, glob) for layer in network.layers):
            some = ", ".join(layer.id for layer in network.layers[:3])
            raise FaultError(f"--layers {glob!r} matches no layer of {network.path.name}, whose layers are {some}, ...")
    return chosen


def _weights(network: Network, layers: Sequence[Layer], asked: Target, skipped: list[str]) -> list[Region]:
    wanted = {layer.index for layer in layers}
    regions = []
    for layer, parameter in network.parameters(asked.parameters):
        if layer.index not in wanted:
            continue
        bits = chosen_bits(asked.bits, parameter.dtype)
        if parameter.elements and bits:
            kind = cast(Kind, parameter.role)
            regions.append(
                Region("weights", kind, layer.index, parameter.tensor, parameter.elements, parameter.dtype, bits)
            )
    return regions


def _activations(
    layers: Sequence[Layer], rows: Rows, asked: Target, skipped: list[str]
) -> list[tuple[Region, tuple[int, ...]]]:
    """Each tensor once, with the layers that read (or write) it."""
    by_tensor: dict[str, list[Layer]] = {}
    for layer in layers:
        by_tensor.setdefault(layer.word if asked.activation == "input" else layer.output, []).append(layer)
    found = []
    for tensor, members in by_tensor.items():
        first = members[0]
        try:
            row = rows.rows(tensor)
            operands = _operands(first, row) if asked.activation == "mac" else 1
            bits = chosen_bits(asked.bits, row.dtype)
        except (EngineError, FaultError) as error:
            skipped.append(f"activations of {first.id}: {error}")
            continue
        if bits:
            elements = _product(row.shape)
            region = Region("activations", asked.activation, first.index, tensor, elements, row.dtype, bits, operands)
            found.append((region, tuple(layer.index for layer in members)))
    return found


def _operands(layer: Layer, row: RowSpec) -> int:
    """K, the products that one output neuron sums up, those with padding zeros too."""
    weight = layer.weight
    if layer.op not in _MAC_OPS or row.dtype != "float32" or weight is None or len(weight.shape) < 2:
        raise FaultError(f"its {layer.op} of {row.dtype} has no multiplications that `mac` could treat.")
    channels = row.shape[0] if layer.op == "Conv" else row.shape[-1]
    return weight.elements // channels


def _outputs(layer: Layer, rows: Rows) -> int | None:
    try:
        return _product(rows.rows(layer.output).shape)
    except EngineError:
        return None


def _product(shape: Sequence[int]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


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
