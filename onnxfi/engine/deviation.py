"""Numbers put in the place of stored ones: an engine that is asked for deviations, not for faults in writing."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from onnxfi.engine.engine import Engine
from onnxfi.engine.head import Head
from onnxfi.engine.operands import Operands
from onnxfi.engine.probe import Counted, Fixed
from onnxfi.engine.route import Route, node_of, tail_piece
from onnxfi.engine.tail import Patch, equal_words
from onnxfi.errors import EngineError
from onnxfi.faults.bits import Word
from onnxfi.faults.space import TRIAL, Region
from onnxfi.graph.chain import constant
from onnxfi.graph.cut import SubGraph
from onnxfi.graph.outside import inlined

Array = np.ndarray[Any, Any]


class Deviations(Engine):
    """An engine whose trials put any value into a word, or move a whole output channel by one number."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._largest: dict[int, float] = {}
        self._leasts: dict[str, float] = {}

    @property
    def regions(self) -> tuple[Region, ...]:
        """The regions that were prepared; they are meant by their place here."""
        return tuple(route.region for route in self._prepared.routes)

    @property
    def images(self) -> int:
        """Images that were prepared."""
        return self._prepared.images

    def stored(self, region: int, image: Array, site: Array) -> Array:
        """The fault-free words (T,) of `region` at flat sites (T,), on images (T,)."""
        found = self.regions[region]
        if found.target == "weights":
            return np.asarray(constant(self._prepared.network.model, found.tensor).reshape(-1)[site])
        golden = self._golden[found.tensor]
        return np.asarray(golden.reshape(len(golden), -1)[image, site])

    @cached_property
    def margins(self) -> Array:
        """Of each image, (I,): the fault-free logit of the golden class less the best other."""
        logits = np.sort(self.golden_logits.astype(np.float64), axis=1)
        return np.asarray(logits[:, -1] - logits[:, -2]) if logits.shape[1] > 1 else np.full(len(logits), np.inf)

    def largest(self, region: int) -> float:
        """The size of the largest fault-free word of `region`, over all images."""
        if region not in self._largest:
            found = self.regions[region]
            weights = found.target == "weights"
            words = constant(self._prepared.network.model, found.tensor) if weights else self._golden[found.tensor]
            self._largest[region] = float(np.abs(words.astype(np.float64)).max())
        return self._largest[region]

    def piece(self, region: int) -> SubGraph:
        """From the words of an activation `region` to the logits, weights inside."""
        p = self._prepared
        piece = tail_piece(p.network, self.regions[region].tensor, p.probe)
        return replace(piece, model=inlined(piece.model))

    def read(self, tensor: str, image: Array) -> Array:
        """What a tensor at a cut holds on images (T,), fault-free: a row each, or what no image changes.

        Raises EngineError where its rows do not lie one after the other.
        """
        kind = self._prepared.probe.kinds[tensor]
        if isinstance(kind, Fixed):
            return kind.value
        if isinstance(kind, Counted):
            return np.asarray(kind.base + kind.step * len(image))
        layout = self._prepared.probe.rows(tensor).layout
        if (layout.axis, layout.repeat) != (0, 1):
            raise EngineError(f"The rows of {tensor!r} do not lie one after the other: leave its layer out.")
        return np.asarray(self._golden[tensor][image])

    def extent(self, region: int) -> tuple[float, float]:
        """The least and the greatest fault-free value of activation `region`, over all images."""
        golden = self._golden[self.regions[region].tensor]
        return float(golden.min()), float(golden.max())

    def put(self, region: int, image: Array, site: Array, values: Array) -> Array:
        """Outcomes, RECORD (T,), of `values` (T,), of the region's dtype, in the place of the stored words."""
        word = Word(self.regions[region].dtype)
        trials = np.zeros(len(values), TRIAL)
        trials["region"], trials["site"], trials["image"] = region, site, image
        trials["toggle"] = word.words(np.ascontiguousarray(values))
        return self.run(trials)

    def operands(self, region: int) -> Operands:
        """What is multiplied for each output neuron of the layer whose op writes `region` (kind output)."""
        route = self._prepared.routes[region]
        head, layer = self._needed(route), route.layer
        node = node_of(self._prepared.network.model, layer.node)
        row = self._golden[layer.output].shape[1:]
        return Operands(node, self._golden[layer.input], head.filters, row)

    def places(self, region: int, channel: Array) -> Array:
        """Flat places (T, positions), in one image's row, of the words of output channels (T,) of `region`."""
        route = self._prepared.routes[region]
        return self._places(route, route.region.tensor, channel)

    def positions(self, region: int) -> int:
        """Words of one output channel of the layer of `region`."""
        route = self._prepared.routes[region]
        row: tuple[int, ...] = self._golden[route.layer.output].shape[1:]
        return int(np.prod(row, dtype=np.int64)) // row[route.axis]

    def shift(self, region: int, image: Array, channel: Array, delta: Array) -> Array:
        """Outcomes, RECORD (T,), of adding `delta` (T,) to every word of an output channel (T,), on images (T,).

        `region` is of kind output. This is the filter fault of DeepVigor+ (Eq. 10): one constant for a whole channel.
        """
        route = self._prepared.routes[region]
        if route.chain is None:
            golden = self._golden[route.region.tensor]
            where = self.places(region, channel)
            before = golden.reshape(len(golden), -1)[image[:, None], where]
            after = _added(before, delta)
            return self._patched(route, image, Patch(after, where=where), equal_words(after, before))
        return self.replace(region, image, channel, *self.follow(region, image, channel, delta[:, None]))

    def moves_channels(self, region: int) -> bool:
        """Whether what a fault in `region` does is known word by word before anything runs: where a weight, stored as
        it is multiplied, moves its output channel by its deviation times words that are not negative."""
        route = self._prepared.routes[region]
        own = route.parameter is not None and (route.parameter.node, route.parameter.slot) == (route.layer.node, 1)
        head = self._head(route) if own and route.head == "filter" else None
        return head is not None and head.weight_path.plain and self._least(route.layer.input) >= 0

    def channels(self, region: int, site: Array) -> Array:
        """The output channel (T,) of weights `site` (T,) of `region`, a layer's weight that `moves_channels`."""
        return self._located(region, site)[0]

    def multiplied(self, region: int, image: Array, site: Array) -> Array:
        """The words (T, positions) of images (T,) that weights `site` (T,) of `region` multiply, each for the places
        of its output channel."""
        channel, operand = self._located(region, site)
        route = self._prepared.routes[region]
        neuron = self._places(route, route.layer.output, channel)
        image, operand = (np.repeat(part, neuron.shape[1]) for part in (image, operand))
        x, _ = self.operands(region).read(image, neuron.reshape(-1), operand)
        return x.reshape(neuron.shape)

    def _located(self, region: int, site: Array) -> tuple[Array, Array]:
        head = self._needed(self._prepared.routes[region])
        index, _ = head.weight_path.follow(site, head.weight_path.stored.reshape(-1)[site])
        return head.locate(index)

    def follow(self, region: int, image: Array, channel: Array, moves: Array) -> tuple[Array, Array]:
        """Output channels (T,) on images (T,) at the cut, if `moves`, (T, positions) or (T, 1), were added to what the
        op writes; and what stands there fault-free."""
        head = self._needed(self._prepared.routes[region])
        written = head.golden_channels(head.chain.start, image, channel)
        with np.errstate(all="ignore"):
            moved = written.reshape(len(written), -1) + moves.astype(written.dtype)
        after = head.follow(head.fault_free(image, channel), moved.reshape(written.shape))
        return after, head.golden_channels(head.chain.end, image, channel)

    def replace(self, region: int, image: Array, channel: Array, after: Array, before: Array) -> Array:
        """Outcomes, RECORD (T,), of output channels `after` in the place of `before`, as `follow` gives them."""
        route = self._prepared.routes[region]
        return self._patched(route, image, self._needed(route).patch(after, channel), equal_words(after, before))

    def put_together(self, region: int, image: Array, site: Array, values: Array) -> Array:
        """Outcomes, RECORD (T,), of several `values` (T, M) at once, in the places of the words `site` (T, M)."""
        route = self._prepared.routes[region]
        return self._patched(route, image, Patch(values, where=site), np.zeros(len(image), bool))

    def _patched(self, route: Route, image: Array, patch: Patch, masked: Array) -> Array:
        """Outcomes, RECORD (T,), of a patch at the route's cut; rows `masked` (T,) are known to change nothing."""
        live = np.flatnonzero(~masked)
        golden, faulty = self._through(
            route.cut, image, live, lambda tail, rows: tail.run(image[rows], patch.take(rows))
        )
        records = self._criterion(golden, faulty, self.golden_class[image])
        records["image"] = image
        return records

    def _least(self, tensor: str) -> float:
        if tensor not in self._leasts:
            self._leasts[tensor] = float(self._golden[tensor].min())
        return self._leasts[tensor]

    def _places(self, route: Route, tensor: str, channel: Array) -> Array:
        row = self._golden[tensor].shape[1:]
        flat = np.arange(np.prod(row, dtype=np.int64)).reshape(row)
        return np.asarray(np.moveaxis(flat, route.axis, 0)[channel].reshape(len(channel), -1))

    def _needed(self, route: Route) -> Head:
        head = self._head(route)
        if head is None:
            raise EngineError(
                f"Layer {route.layer.id!r} ({route.layer.op}) is none whose output channels can be followed: "
                "leave it out with --layers."
            )
        return head


def _added(values: Array, delta: Array) -> Array:
    """`values` (T, ...) plus one number a row, in their own float type."""
    with np.errstate(all="ignore"):
        moved = values + delta.astype(values.dtype).reshape(-1, *(1,) * (values.ndim - 1))
    return np.ascontiguousarray(moved)
