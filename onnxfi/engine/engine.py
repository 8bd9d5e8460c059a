"""The engine: trials in, outcomes out.

A trial takes the golden value of a tensor for an image, changes a part of it, runs the tail from there and looks at
the logits. What a fault changes is found by a head; a trial whose changed part is golden again is masked and runs no
tail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnxfi.engine.golden import Golden
from onnxfi.engine.head import Head, filters_of
from onnxfi.engine.operands import Operands
from onnxfi.engine.patching import changed, faulty_words, filter_patch, mac_words, op_patch, word_patch
from onnxfi.engine.prepare import Prepared
from onnxfi.engine.route import Route, node_of
from onnxfi.engine.tail import Patch
from onnxfi.engine.tails import CutTail, Tails
from onnxfi.errors import EngineError
from onnxfi.graph.chain import Chain, constant
from onnxfi.graph.path import Path as WeightPath
from onnxfi.graph.path import find_path
from onnxfi.metrics.outcome import RECORD, Criterion, top1

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Cost:
    """What running cost: rows through any head, tail, golden or null run, and the same weighed by multiply-adds."""

    image_inferences: int = 0
    equivalent_inferences: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.image_inferences + other.image_inferences,
            self.equivalent_inferences + other.equivalent_inferences,
        )


class Engine:
    """Runs the trials of a prepared study. Not shared between threads; any number of engines may open one folder."""

    def __init__(self, folder: Path, criterion: Criterion = top1):
        p = self._prepared = Prepared.load(folder)
        self._criterion = criterion
        self._golden = Golden(folder, p.golden, p.images, p.probe)
        self.golden_logits: Array = np.ascontiguousarray(self._golden[p.network.output]).reshape(p.images, -1)
        self.golden_class: Array = _first(self.golden_logits)
        self._tails = Tails(p, folder, self._golden, self.golden_logits)
        self._heads: dict[int, Head | None] = {}
        self._total = max(sum(p.macs.values()), 1)
        self.cost = Cost()

    def run(self, trials: Array) -> Array:
        """Outcomes, RECORD (T,), of `trials`, TRIAL (T,), in their order.

        Raises EngineError, with layer, tensor, site and fault id, where running fails: a crash is no outcome.
        """
        records = np.zeros(len(trials), RECORD)
        for mine, golden, faulty in self.answers(trials):
            classes = self.golden_class[trials["image"][mine]]
            records[mine] = self._criterion(golden, faulty, classes)
        records["fault"], records["image"] = trials["fault"], trials["image"]
        return records

    def answers(self, trials: Array) -> Iterator[tuple[Array, Array, Array]]:
        """Region by region: which of `trials`, TRIAL (T,), these are, and their golden and faulty logits.

        Raises EngineError as `run` does.
        """
        for number in np.unique(trials["region"]):
            mine = np.flatnonzero(trials["region"] == number)
            route = self._prepared.routes[number]
            try:
                golden, faulty = self._logits(route, trials[mine])
            except EngineError as error:
                raise type(error)(f"{error} ({_place(route, trials[mine])})") from error
            yield mine, golden, faulty

    def close(self) -> None:
        """Let go of all compiled tails and heads."""
        self._tails.clear()
        self._heads.clear()

    def logits(self, trials: Array) -> Array:
        """Faulty logits (T, classes) of trials of one region, in their order."""
        return self._logits(self._prepared.routes[trials["region"][0]], trials)[1]

    def _logits(self, route: Route, trials: Array) -> tuple[Array, Array]:
        image = trials["image"].astype(np.int64)
        head = self._head(route)
        if route.head == "general" or (route.head == "filter" and head is None):
            return self._general(route, trials, image)
        cut, patch, masked = self._changed(route, head, trials)
        live = np.flatnonzero(~masked)
        return self._through(cut, image, live, lambda tail, rows: tail.run(image[rows], patch.take(rows)))

    def _changed(self, route: Route, head: Head | None, trials: Array) -> tuple[str, Patch, Array]:
        """Where the model is cut, what the trials change there, and which of them change nothing."""
        if route.head == "filter" and head and route.parameter:
            before = head.rows_run
            patched = filter_patch(head, route.parameter, trials)
            self._count(head.rows_run - before, head.macs)
            return route.cut, *patched
        golden = self._golden[route.region.tensor]
        if route.region.kind == "mac":
            site, after = mac_words(self._operands(route), golden, trials)
        else:
            site, after = faulty_words(golden, trials)
        if route.head == "op" and head:
            return route.cut, *op_patch(head, self._golden, trials, after, site)
        return route.region.tensor, *word_patch(golden, trials, after, site)

    def _operands(self, route: Route) -> Operands:
        model, layer, weight = self._prepared.network.model, route.layer, route.layer.weight
        path = find_path(model, weight.tensor, weight.path) if weight else None
        if path is None:
            raise EngineError(f"Layer {layer.id!r} has no operands that can be found word by word.")
        node = node_of(model, layer.node)
        row = self._golden[route.region.tensor].shape[1:]
        return Operands(node, self._golden[layer.input], filters_of(node, path.weight), row)

    def _general(self, route: Route, trials: Array, image: Array) -> tuple[Array, Array]:
        """Any initializer, whoever reads it: it becomes an input of its own tail, one run a fault."""
        stored = constant(self._prepared.network.model, route.region.tensor)
        words = changed(stored.reshape(-1)[trials["site"].astype(np.int64)], trials)
        _, fault = np.unique(np.stack([trials["site"], _bits(words)]), axis=1, return_inverse=True)
        masked = _bits(words) == _bits(stored.reshape(-1)[trials["site"].astype(np.int64)])

        def run(tail: CutTail, rows: Array) -> Array:
            answers: list[Array] = [np.empty(0)] * len(rows)
            for number in np.unique(fault[rows]):
                mine = np.flatnonzero(fault[rows] == number)
                weight = stored.copy()
                weight.reshape(-1)[int(trials["site"][rows[mine[0]]])] = words[rows[mine[0]]]
                for place, answer in zip(mine, tail.run(image[rows[mine]], None, weight), strict=True):
                    answers[place] = answer
            return np.stack(answers)

        return self._through(route.region.tensor, image, np.flatnonzero(~masked), run)

    def _through(
        self, cut: str, image: Array, live: Array, run: Callable[[CutTail, Array], Array]
    ) -> tuple[Array, Array]:
        """Golden and faulty logits of rows on images `image`; only rows `live` go through the tail at `cut`.

        A fast tail rounds differently, so its golden logits are its own. They are run only where the answer may hang
        on rounding: faulty logits close to the exact golden ones (masked or not?), or a golden class that is nearly a
        tie. Where the tail's own golden class is another one, the image's rows go through the exact tail instead.
        """
        golden, faulty = self.golden_logits[image], self.golden_logits[image]
        for exact in (True,) if self._prepared.settings.exact else (False, True):
            if not len(live):
                break
            tail = self._tails.at(cut, exact)
            before = tail.rows_run
            faulty[live] = run(tail, live)
            if not exact:
                near = live[self._hangs_on_rounding(image[live], faulty[live], tail.noise)]
                golden[near] = tail.golden(image[near])
                live = near[_first(golden[near]) != self.golden_class[image[near]]]
                golden[live] = self.golden_logits[image[live]]
            self._count(tail.rows_run - before, tail.macs)
        return golden, faulty

    def _hangs_on_rounding(self, image: Array, faulty: Array, noise: float) -> Array:
        """Rows whose faulty logits, or the golden ones' first two, lie within `noise` (relative) of each other."""
        exact = self.golden_logits[image].astype(np.float64)
        reach = noise * (np.abs(exact).max(axis=1) + 1e-30)
        with np.errstate(all="ignore"):
            close = np.abs(faulty.astype(np.float64) - exact).max(axis=1) <= reach
        first_two = np.sort(exact, axis=1)[:, -2:]
        return np.asarray(close | (first_two[:, -1] - first_two[:, 0] <= reach))

    def _head(self, route: Route) -> Head | None:
        if route.head not in ("filter", "op") or route.chain is None:
            return None
        if route.layer.index not in self._heads:
            self._heads[route.layer.index] = self._proven_head(route, route.chain)
        return self._heads[route.layer.index]

    def _proven_head(self, route: Route, chain: Chain) -> Head | None:
        p, layer = self._prepared, route.layer
        node = node_of(p.network.model, layer.node)
        paths: dict[int, WeightPath | None] = {}
        for parameter in layer.parameters:
            if parameter.node == layer.node:
                paths[parameter.slot] = find_path(p.network.model, parameter.tensor, parameter.path)
        weight, bias = paths.get(1), paths.get(2)
        if weight is None or (len(node.input) > 2 and node.input[2] and bias is None):
            return None
        try:
            return Head(p.network.model, node, layer.input, weight, bias, chain, route.axis, p.probe, self._golden)
        except EngineError:
            return None

    def _count(self, rows: int, macs: float) -> None:
        self.cost += Cost(rows, rows * macs / self._total)


def _first(logits: Array) -> Array:
    return np.asarray(logits.argmax(axis=1), np.int32)


def _bits(words: Array) -> Array:
    return words.view(f"u{words.dtype.itemsize}").astype(np.uint64)


def _place(route: Route, trials: Array) -> str:
    first = trials[0]
    return (
        f"layer {route.layer.id!r}, tensor {route.region.tensor!r}, site {first['site']}, fault {first['fault']}"
        f" and {len(trials) - 1} more"
    )
