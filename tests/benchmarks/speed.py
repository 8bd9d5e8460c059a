"""How fast a trial is, next to running the whole network: `python tests/benchmarks/speed.py [--shared DIR]`.

The network is the real CIFAR-10 ResNet-20 of the shared data (exported here, which needs torch, or given with --model),
else the bundled one. One process, one thread, CPU time, all contestants in turn within one run:

    engine     Engine.run on trials of one layer, uniform over sites, bits and images; every row of a batch is another
               fault on another image. No pruning: every trial goes through head, fault node and tail
    pruned     the same call as users make it: trials that the head knows masked run no tail
    bare       the engine's own tail session alone, on inputs that lie ready, the same rows a run
    whole      the whole graph at the same optimisation level, in the same batch; the faulty weight is fed as an
               overridable initializer, so a batch is many images under one fault (its best case). For activations: the
               whole graph without any fault, which is less than a fault node would cost

Every layer counts alike. Overhead is engine / bare - 1, heads counted. Targets: whole / engine at least 1.7 on weights
before pruning, overhead at most 15 %. A fast tail may run an image once without a fault, when it first meets it:
`golden`, a row, apart from the others.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import onnx
import onnxruntime
from inside import Unpruned, bare, live_share, rows_of, tail_of
from setting import assembled, in_turn, shared, table

from onnxfi.engine.engine import Engine
from onnxfi.engine.patching import changed
from onnxfi.engine.prepare import prepare
from onnxfi.engine.session import Session
from onnxfi.graph.chain import constant
from onnxfi.graph.network import Network
from onnxfi.study.assembly import Assembly
from onnxfi.study.settings import Machine, Target

Array = np.ndarray[Any, Any]
CONTESTANTS = ("engine", "pruned", "bare", "whole")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, help="real weights and images (default: ONNXFI_SHARED_DATA)")
    parser.add_argument("--model", type=Path, help="an exported ResNet-20, where torch is not at hand")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--trials", type=int, default=256, help="of each layer, a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--level", choices=("fast", "exact"), nargs="+", default=["fast", "exact"])
    parser.add_argument("--target", choices=("weights", "activations"), nargs="+", default=["weights", "activations"])
    options = parser.parse_args(arguments)
    print(f"ONNX Runtime {onnxruntime.__version__}, one process, one thread. CPU microseconds a trial, median of")
    print(f"{options.rounds} rounds of {options.trials} trials a layer; {options.images} images.")
    with tempfile.TemporaryDirectory(prefix="onnxfi-speed-") as name:
        for level in options.level:
            for kind in options.target:
                folder = Path(name, f"{level}-{kind}")
                folder.mkdir()
                machine = Machine(exact=level == "exact", provider="cpu")
                made = assembled(
                    shared(options.shared), options.model, folder, Target(kind=kind), options.images, machine
                )
                options.model = made.network.path
                compare(made, folder, options.trials, options.rounds)


def compare(made: Assembly, folder: Path, count: int, rounds: int) -> None:
    """One level and one target: a line a layer, then the averages."""
    space, exact = made.targets.space, made.engine.exact
    prepare(made.network, made.probe, made.dataset.images, space.regions, made.engine, folder)
    plain, unpruned, rng = Engine(folder), Unpruned(folder), np.random.default_rng(0)
    lines, each, golden, live = [], [], [], []
    for number, region in enumerate(space.regions):
        faults = rng.integers(space.edges[number], space.edges[number + 1], count)
        trials = space.trials(faults, rng.integers(0, len(made.dataset), count))
        tail, images = tail_of(unpruned, number, exact), trials["image"].astype(np.int64)
        golden.append(_golden(tail, images))
        live.append(live_share(plain, number, trials))
        seconds = in_turn(
            {
                "engine": lambda t=trials: unpruned.run(t),
                "bare": bare(tail, images),
                "whole": whole(made.network, region.tensor, trials, made.dataset.images, rows_of(tail), exact),
                "pruned": lambda t=trials: plain.run(t),
            },
            rounds,
        )
        each.append([seconds[name] / count * 1e6 for name in CONTESTANTS])
        lines.append(_line(made.network.layers[region.layer].id, rows_of(tail), each[-1], live[-1]))
    print(f"\n{made.network.path.name}, {space.regions[0].target}, {'exact' if exact else 'fast'}")
    mean = [float(value) for value in np.mean(each, axis=0)]
    lines.append(_line("mean over layers", "", mean, np.mean(live)))
    table(["layer", "rows", *CONTESTANTS, "live", "whole/engine", "whole/pruned", "overhead"], lines)
    if not exact:
        print(f"golden: {np.mean(golden) * 1e6:.0f} a row and tail, once for each image that is new to the tail")
    plain.close()
    unpruned.close()


def _line(layer: str, rows: object, each: Sequence[float], live: float) -> list[str]:
    engine, pruned, lone, all_of_it = each
    overhead = f"{engine / lone - 1:.1%}" if lone > 0.01 * engine else "no tail"
    times = [f"{value:.0f}" for value in each]
    return [layer, str(rows), *times, f"{live:.0%}", f"{all_of_it / engine:.2f}", f"{all_of_it / pruned:.2f}", overhead]


def _golden(tail: Any, images: Array) -> float:
    start = process_time()
    tail.golden(images)
    return (process_time() - start) / len(np.unique(images))


def whole(network: Network, tensor: str, trials: Array, images: Array, rows: int, exact: bool) -> Callable[[], object]:
    """The whole graph, `rows` images a run, the initializer `tensor` (if it is one) another faulty one each run."""
    model = onnx.ModelProto()
    model.CopyFrom(network.model)
    weight = next((i for i in model.graph.initializer if i.name == tensor), None)
    if weight is not None:
        model.graph.input.append(onnx.helper.make_tensor_value_info(tensor, weight.data_type, list(weight.dims)))
    session = Session(model.SerializeToString(), fast=not exact, what="the whole model")
    ready = []
    for start in range(0, len(trials), rows):
        feeds = {network.input.name: np.ascontiguousarray(images[trials["image"][start : start + rows]])}
        if weight is not None:
            feeds[tensor] = _faulty(constant(network.model, tensor), trials[start : start + 1])
        ready.append(feeds)
    return lambda: [session.run(feeds, [network.output]) for feeds in ready]


def _faulty(stored: Array, trial: Array) -> Array:
    weight = stored.copy()
    site = int(trial["site"][0])
    weight.reshape(-1)[site] = changed(stored.reshape(-1)[[site]], trial)[0]
    return weight


if __name__ == "__main__":
    main()
