"""A complete DeepVigor+ analysis next to a plain loop that searches alike: `python tests/benchmarks/vigor_speed.py`.

Small networks: the one of the tests (conv 1-6-8-8, trained on the spot), or an ONNX file and its images. Every weight
and every word that a layer reads, on every image. One process, one thread, CPU time, all contestants in one run:

    analysis  onnxfi.vigor, golden pass, preparation and audit included
    loop      the same search over the same candidates, but each simulation (one value in one site, one image) is one
              forward of the whole network through ONNX Runtime, fully optimised, batch 1, as the authors' code runs one
              forward for each candidate; the faulty weight or word is an input of the graph
    torch     the same loop in eager PyTorch, which is what the authors' code runs on (the network of the tests only,
              where torch is installed)
    batched   the loop, but simulations that can share a forward do, 32 images at a time: words of one tensor, or one
              value of one weight on many images
    plain     loop, when it halves blindly instead of following margins, and runs every value of layers that read the
              image: what the search was before it was made to need fewer values
    every     loop, when every flip of every site is simulated: exhaustive injection

All loops run on a few pairs of site and image of each tensor and are scaled to all; loop decides these pairs as the
analysis does, and the share of faults on which both agree is printed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper
from setting import REPOSITORY, table

sys.path.insert(0, str(REPOSITORY / "tests"))
import trained_net

from onnxfi.engine.deviation import Deviations
from onnxfi.engine.prepare import look, prepare
from onnxfi.engine.session import Session
from onnxfi.graph.chain import constant
from onnxfi.graph.network import Network
from onnxfi.metrics.outcome import CRITICAL, top1
from onnxfi.study.settings import Data, Machine, Target
from onnxfi.vigor.analysis import Analysis, analyze
from onnxfi.vigor.course import read_pixels, runnable
from onnxfi.vigor.deepvigor_plus import Pairs
from onnxfi.vigor.order import Order
from onnxfi.vigor.pairs import decide
from onnxfi.vigor.search import Answers
from onnxfi.vigor.settings import Question

Array = np.ndarray[Any, Any]
LOOPS = ("loop", "batched", "plain", "every")
ROWS = 32


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="an ONNX file (default: the network of the tests)")
    parser.add_argument("--data", type=Path, help="its images")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--pairs", type=int, default=200, help="of each tensor, in the loops")
    parser.add_argument("--activation", choices=("input", "output", "mac"), default="input")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="onnxfi-speed-") as name:
        folder = Path(name)
        model, data, eager = options.model, options.data, None
        if model is None:
            model = folder / "small.onnx"
            trained_net.write(model)
            data = trained_net.save_pictures(folder / "images.npz", options.images)
            eager = _eager(model)
        target, machine = Target(activation=options.activation), Machine(workers=1, provider="cpu")
        question = Question(target, Data((data,), images=options.images), machine=machine)
        compare(model, question, options.pairs, folder, eager)


def _eager(model: Path) -> Any:
    """The network of the tests in PyTorch; None where torch is not installed."""
    try:
        from in_torch import Torch
    except ImportError:
        return None
    return Torch(model)


def compare(model: Path, question: Question, pairs: int, folder: Path, eager: Any) -> None:
    """The complete analysis, then the loops on so many pairs of each region."""
    start = process_time()
    analysis = analyze(model, question)
    loops = LOOPS if eager is None else ("loop", "torch", *LOOPS[1:])
    spent = {"analysis": process_time() - start, **dict.fromkeys(loops, 0.0)}
    values = dict.fromkeys(spent, 0.0)
    values["analysis"] = float(sum(m.tried + m.audit.values for m in analysis.estimates.measured))
    assembly = analysis.assembly
    prepare(
        assembly.network, assembly.probe, assembly.dataset.images, runnable(analysis.targets), assembly.engine, folder
    )
    engine, rng, agreed, faults = Deviations(folder), np.random.default_rng(0), 0, 0
    for number, m in enumerate(analysis.estimates.measured):
        site = np.sort(rng.integers(0, len(m.drawn.site), pairs))
        image = rng.integers(0, len(assembly.dataset), pairs)
        scale = m.pairs.size / pairs
        for name in loops:
            whole = Whole(analysis, engine, number, name, eager)
            start = process_time()
            critical = whole.decided(image, m.drawn.site[site])
            spent[name] += scale * (process_time() - start)
            values[name] += scale * whole.simulations
            if name == "loop":
                agreed += int((np.abs(critical.mean(axis=1) - m.pairs[site, image]) < 1e-6).sum())
                faults += pairs
    engine.close()
    print(f"ONNX Runtime {onnxruntime.__version__}, one process, one thread; {model.name}, complete:")
    print(
        f"{sum(m.pairs.size for m in analysis.estimates.measured):,} pairs of site and image, weights and activations"
    )
    lines = [
        (name, f"{values[name]:,.0f}", f"{spent[name]:.2f}", f"{1e6 * spent[name] / values[name]:.1f}",
         f"{spent[name] / spent['analysis']:.1f}")
        for name in spent
    ]  # fmt: skip
    table(["", "simulations", "CPU s", "us each", "ratio"], lines)
    print(f"loop and analysis give the same VF on {agreed:,} of {faults:,} pairs")


class Whole:
    """Whole-network forwards with a faulty weight, or one faulty word of an activation, fed to the graph."""

    def __init__(self, analysis: Analysis, engine: Deviations, number: int, name: str, eager: Any) -> None:
        self._assembly, self._engine, self._number, self._name = analysis.assembly, engine, number, name
        self._rows, self._eager = ROWS if name == "batched" else 1, eager if name == "torch" else None
        self._asked, self._region = analysis.targets.space.regions[number], engine.regions[number]
        network = analysis.assembly.network
        self._weight = self._region.target == "weights"
        self._image = self._region.tensor == network.input.name
        self._stored = constant(network.model, self._region.tensor) if self._weight else None
        model = network.model if self._image else _opened(network, self._region.tensor, self._weight)
        self._session = Session(model.SerializeToString(), fast=True, what="the whole model")
        self._shape: tuple[int, ...] = ()
        if not self._weight:
            self._shape = look(network, self._assembly.dataset.images)[1].rows(self._region.tensor).shape
        self.simulations = 0

    def decided(self, image: Array, site: Array) -> Array:
        """Which flips of pairs (P,) are critical, (P, bits)."""
        order = Order(self._region.dtype)
        stored = self._engine.stored(self._number, image, site)
        mac = self._asked.kind == "mac"
        pairs = Pairs(self._number, mac, self._asked.bits, image, site, np.zeros(len(image), bool))
        golden, keys = order.keys(stored), pairs.keys(self._engine, order, stored)

        def attempt(row: Array, values: Array) -> Answers:
            self.simulations += len(row)
            return self._answers(image[row], site[row], values)

        def blind(row: Array, values: Array) -> Answers:
            return replace(attempt(row, values), room=np.full(len(row), np.nan))

        pixels = read_pixels(self._assembly, self._asked)
        if self._name == "every" or (self._name == "plain" and pixels):
            rows = np.repeat(np.arange(len(keys)), keys[0].size)
            critical = attempt(rows, order.values(keys.reshape(-1))).critical.reshape(keys.shape)
        elif self._name == "plain":
            _, critical = decide(order, golden, keys, blind)
        else:
            _, critical = decide(order, golden, keys, attempt, self._engine.largest(self._number), pixels)
        return critical.reshape(len(image), -1)

    def _answers(self, image: Array, site: Array, values: Array) -> Answers:
        parts = self._parts(site, values)
        logits = np.empty_like(self._engine.golden_logits[image])
        for part in parts:
            logits[part] = self._forward(image[part], site[part], values[part])
        records = top1(self._engine.golden_logits[image], logits, self._engine.golden_class[image])
        with np.errstate(all="ignore"):
            room = records["margin"].astype(np.float64) / self._engine.margins[image]
        return Answers(records["outcome"] == CRITICAL, room)

    def _parts(self, site: Array, values: Array) -> list[Array]:
        """Rows that share a forward: `rows` at most, of one weight and value."""
        if not self._weight or self._rows == 1:
            return [np.arange(i, min(i + self._rows, len(site))) for i in range(0, len(site), self._rows)]
        words = values.view(f"u{values.dtype.itemsize}").astype(np.uint64)
        _, group = np.unique(np.stack([site.astype(np.uint64), words]), axis=1, return_inverse=True)
        order = np.argsort(group.reshape(-1), kind="stable")
        cuts = np.flatnonzero(np.diff(group.reshape(-1)[order])) + 1
        return [part[i : i + self._rows] for part in np.split(order, cuts) for i in range(0, len(part), self._rows)]

    def _forward(self, image: Array, site: Array, values: Array) -> Array:
        """Logits (T, classes) of one forward."""
        network, row = self._assembly.network, np.arange(len(image))
        fed = self._assembly.dataset.images[image]
        if self._eager is not None:
            return np.asarray(self._eager.run(fed, self._region.tensor, int(site[0]), float(values[0])))
        feeds = {network.input.name: fed}
        if self._weight and self._stored is not None:
            weight = self._stored.copy()
            weight.reshape(-1)[site[0]] = values[0]
            feeds[self._region.tensor] = weight
        elif self._image:
            fed = fed.copy()
            fed.reshape(len(fed), -1)[row, site] = values
            feeds = {network.input.name: fed}
        else:
            shape = self._shape
            mask, word = np.zeros((len(row), *shape), bool), np.zeros((len(row), *shape), values.dtype)
            mask.reshape(len(row), -1)[row, site] = True
            word.reshape(len(row), -1)[row, site] = values
            feeds |= {"wrong": mask, "word": word}
        return self._session.run(feeds, [network.output])[0].reshape(len(row), -1)


def _opened(network: Network, tensor: str, weight: bool) -> onnx.ModelProto:
    """The whole model with an initializer, or words of an activation, as an input."""
    model = onnx.ModelProto()
    model.CopyFrom(network.model)
    graph = model.graph
    if weight:
        stored = next(i for i in graph.initializer if i.name == tensor)
        graph.input.append(helper.make_tensor_value_info(tensor, stored.data_type, list(stored.dims)))
        return model
    at = next(i for i, node in enumerate(graph.node) if tensor in node.output)
    graph.node[at].output[list(graph.node[at].output).index(tensor)] = "right"
    graph.node.insert(at + 1, helper.make_node("Where", ["wrong", "word", "right"], [tensor], name="wrong word"))
    for name, kind in (("wrong", onnx.TensorProto.BOOL), ("word", onnx.TensorProto.FLOAT)):
        graph.input.append(helper.make_tensor_value_info(name, kind, None))
    return model


if __name__ == "__main__":
    main()
