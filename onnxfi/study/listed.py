"""A fault list meets a model: which stored weight each of the list's layers is, and how the list's indices walk it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from onnxfi.faults.forms import Form
from onnxfi.faults.layout import Layout
from onnxfi.faults.listing import Entry, FaultList
from onnxfi.graph.naming import METADATA_KEY, UNSHARED, stem
from onnxfi.graph.network import Layer, Network, Parameter
from onnxfi.graph.weight_layout import depthwise_channels, pytorch_layout

How = Literal["metadata", "initializer", "graph", "weights"]
"""By the layer names that a converter recorded; by the initializer's name; by the node's; by the stored values."""


@dataclass(frozen=True)
class Weight:
    """A weight that a list can name. `layout`: PyTorch's view of the stored words; `depthwise`: its channels, if so."""

    layer: Layer
    parameter: Parameter
    layout: Layout
    depthwise: int | None

    def view(self, form: Form, name: str = "", rows: Iterable[tuple[int, ...]] = ()) -> Layout:
        """As `form` lays it out. Keras' name of the layer, or the list's indices, tell a DepthwiseConv2D from a Conv2D
        in groups."""
        if form != "keras":
            return self.layout
        grouped = self.layout.keras()
        own = "depthwise" in name or not all(_inside(grouped, index) for index in rows)
        return self.layout.depthwise(self.depthwise) if own and self.depthwise is not None else grouped


@dataclass(frozen=True)
class Matched:
    """Where a list's layer was found: the model's own id of it, and how."""

    name: str
    layer: str
    tensor: str
    how: How


def weights(network: Network) -> list[Weight]:
    """Every weight that a published list counts, in the order of the file's initializers.

    That is the order of PyTorch's named_parameters, in which the published lists are drawn; the graph's may differ.
    A weight that reaches its layer by more than moving words is left out: no index leads into it.
    """
    found = []
    for layer, parameter in network.parameters("weights"):
        layout = pytorch_layout(network, layer, parameter)
        if layout is not None:
            found.append(Weight(layer, parameter, layout, depthwise_channels(network, layer, layout)))
    place = {tensor.name: number for number, tensor in enumerate(network.model.graph.initializer)}
    recorded = {tensor: number for number, tensor in enumerate(names_of(network))}
    return sorted(found, key=lambda w: (recorded.get(w.parameter.tensor, -1), place[w.parameter.tensor]))


def names_of(network: Network) -> Mapping[str, str]:
    """Initializer -> layer name, as a converter recorded it; empty where none did, or not readably."""
    try:
        given = json.loads(network.metadata.get(METADATA_KEY, "{}"))
    except ValueError:
        return {}
    return given if isinstance(given, dict) else {}


def list_name(network: Network, weight: Weight) -> str:
    """What a list calls the layer of this weight: the recorded name, else the initializer's, else the model's id."""
    tensor = weight.parameter.tensor
    return names_of(network).get(tensor) or stem(tensor) or weight.layer.id


def find(names: Sequence[str], network: Network) -> dict[str, tuple[Weight, How]]:
    """The weight of each of `names` that the network knows by name.

    TensorFlow's exporters write a layer's whole path: its last part, which Keras calls the layer, will do if it is
    there once.
    """
    recorded, found = names_of(network), weights(network)
    by: dict[How, dict[str, Weight]] = {"metadata": {}, "initializer": {}, "graph": {}}
    for weight in found:
        tensor = weight.parameter.tensor
        if tensor in recorded:
            by["metadata"].setdefault(recorded[tensor], weight)
        by["initializer"].setdefault(stem(tensor.split(UNSHARED)[0]), weight)
        by["graph"].setdefault(weight.layer.id, weight)
    tails = Counter(_tail(weight) for weight in found)
    by["graph"] |= {_tail(w): w for w in found if tails[_tail(w)] == 1 and _tail(w) not in by["graph"]}
    return {name: (known[name], how) for name in names for how, known in _first(by, name)}


def _tail(weight: Weight) -> str:
    return weight.layer.id.rpartition("/")[2]


def _first(by: Mapping[How, Mapping[str, Weight]], name: str) -> Iterator[tuple[How, Mapping[str, Weight]]]:
    for how, known in by.items():
        if name in known:
            yield how, known
            return


def twins(found: Mapping[str, Weight], reference: Network, network: Network) -> dict[str, Weight]:
    """Of each weight of `reference` the one that holds the same numbers in `network`, where there is one.

    Equal weights are told apart by their order.
    """
    here: dict[bytes, list[Weight]] = {}
    for weight in weights(network):
        here.setdefault(_print_of(network, weight), []).append(weight)
    alike = {name: here.get(_print_of(reference, weight), []) for name, weight in found.items()}
    return {name: same.pop(0) for name, same in alike.items() if same}


def _print_of(network: Network, weight: Weight) -> bytes:
    """A hash of shape and values in PyTorch's order of axes."""
    values = view(network, weight)
    name = f"{values.shape} {values.dtype.str} "
    return hashlib.sha256(name.encode() + np.ascontiguousarray(values).tobytes()).digest()


def view(network: Network, weight: Weight) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """The stored values in PyTorch's order of axes, read-only."""
    flat = np.ascontiguousarray(network.stored(weight.parameter.tensor)).reshape(-1)
    steps = tuple(step * flat.itemsize for step in weight.layout.steps)
    return np.lib.stride_tricks.as_strided(flat, weight.layout.shape, steps, writeable=False)


def settle_form(form: Form, listed: FaultList, found: Mapping[str, Weight], network: Network) -> Form:
    """'pytorch' or 'keras': as asked, or the form in which every row is inside of its weight.

    Where both are, the framework that the model was converted from decides, and else PyTorch.
    """
    if form != "auto":
        return form
    by_layer: dict[str, list[Entry]] = {}
    for entry in listed.entries:
        by_layer.setdefault(entry.layer, []).append(entry)
    fits: list[Form] = []
    forms: tuple[Form, ...] = ("pytorch", "keras")
    for candidate in forms:
        if all(_fit(found[layer], candidate, rows) for layer, rows in by_layer.items() if layer in found):
            fits.append(candidate)
    if len(fits) == 2 and network.metadata.get("onnxfi.framework") == "keras":
        return "keras"
    return fits[0] if fits else "pytorch"


def _fit(weight: Weight, form: Form, rows: Sequence[Entry]) -> bool:
    layout = weight.view(form, rows[0].layer, [row.index for row in rows])
    return all(_inside(layout, row.index) for row in rows)


def _inside(layout: Layout, index: tuple[int, ...]) -> bool:
    return len(index) == len(layout.shape) and all(0 <= i < n for i, n in zip(index, layout.shape, strict=True))
