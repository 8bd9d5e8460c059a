"""This engine against a published campaign: ResNet-20 on CIFAR-10, 16,627 flipped weight bits on 10,000 images each.

    ONNXFI_SHARED_DATA=../shared/data python tests/published.py [--images 30] [--fast]

The network is exported from the published checkpoint with the campaign's own normalisation (not the training one).

Per bit and per layer: every fault of the list on `--images` images of its own; `published_rates.py` compares. (Fault by
fault on all images is what `onnxfi faults run` does.)

Critical is here what it is in the campaign: numpy's argmax (a NaN first) differs from the fault-free one. onnxfi's own
rule, a non-finite logit is critical whatever the argmax, is reported beside it.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from published_rates import IMAGES, Ints, drawn, lines

from models.normalisation import Normalisation
from onnxfi.engine.engine import Engine
from onnxfi.engine.prepare import Settings, look, prepare
from onnxfi.faults.layout import Layout
from onnxfi.faults.listing import Counts, Entry, Place, fault_ids, read_list
from onnxfi.faults.space import FaultSpace, Region
from onnxfi.graph.network import Network
from onnxfi.metrics.outcome import RECORD

Records = NDArray[np.void]

NORMALISATION = Normalisation((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
BITS = tuple(range(31, -1, -1))
_BLOCK = 500  # images prepared at a time: 0.8 GB of golden tensors where all layers are in
_PIECE = 1_024  # trials a run


@dataclass(frozen=True)
class Campaign:
    """The network, all test images (uint8 NHWC, test order), and the list: its rows and the fault id of each."""

    network: Network
    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    entries: tuple[Entry, ...]
    space: FaultSpace
    ids: NDArray[np.uint64]

    @cached_property
    def critical(self) -> Ints:
        """Published critical images of each row."""
        return np.array([counts(entry).critical for entry in self.entries])

    @cached_property
    def bits(self) -> Ints:
        """The bit of each row."""
        return self.space.locate(self.ids)[2]

    @cached_property
    def layers(self) -> Ints:
        """The layer of each row, as its index in the network."""
        return self.space.locate(self.ids)[0]


def counts(entry: Entry) -> Counts:
    """The published counts of a row, which has them."""
    assert entry.counts is not None
    return entry.counts


def export(shared: Path, model: Path) -> None:
    """Write the published checkpoint as an ONNX file, every weight as stored. Needs torch."""
    from converters.__main__ import main as convert

    checkpoint = str(shared / "weights/cifar10_resnet20-12fca82f.th")
    mean, std = (",".join(map(str, numbers)) for numbers in (NORMALISATION.mean, NORMALISATION.std))
    words = ["pytorch", "--arch", "resnet20", "--checkpoint", checkpoint, "--mean", mean, "--std", std]
    if convert([*words, "-o", str(model)]):
        raise RuntimeError(f"{checkpoint} could not be exported")


def load(shared: Path, model: Path) -> Campaign:
    """The campaign, on the network that `export` wrote."""
    network = Network.load(model)
    weights = network.parameters("weights")
    space = FaultSpace(
        [Region("weights", "weight", la.index, p.tensor, p.elements, p.dtype, BITS) for la, p in weights]
    )
    places = {layer.id: Place(i, Layout.plain(parameter.shape)) for i, (layer, parameter) in enumerate(weights)}
    listed = read_list(shared / "fault_lists/ResNet20_FL.csv")
    files = [np.load(shared / f"images/cifar10_test_{part}.npz") for part in ("0000-1999", "2000-9999")]
    images, labels = (np.concatenate([file[name] for file in files]) for name in ("images", "labels"))
    return Campaign(network, images, labels, listed.entries, space, fault_ids(listed, places, space))


def replay(campaign: Campaign, rows: Ints, images: Ints, exact: bool = True) -> tuple[Records, Ints]:
    """RECORD (T,) of rows of the list (T,) on images (T,), and the golden classes of all images that were met.

    The classes are int64 (10000,), -1 where an image was in no block that ran.
    """
    records, classes = np.zeros(len(rows), RECORD), np.full(IMAGES, -1)
    for start in range(0, IMAGES, _BLOCK):
        mine = np.flatnonzero((images >= start) & (images < start + _BLOCK))
        if len(mine):
            trials = campaign.space.trials(campaign.ids[rows[mine]], images[mine] - start)
            block = slice(start, start + _BLOCK)
            records[mine], classes[block] = _run(campaign, trials, NORMALISATION.apply(campaign.images[block]), exact)
    records["image"] = images
    return records, classes


def _run(campaign: Campaign, trials: Records, images: NDArray[np.float32], exact: bool) -> tuple[Records, Ints]:
    used, trials["region"] = np.unique(trials["region"], return_inverse=True)
    records = np.zeros(len(trials), RECORD)
    with TemporaryDirectory() as name:
        regions = [campaign.space.regions[number] for number in used]
        images = np.ascontiguousarray(images)
        prepare(*look(campaign.network, images), images, regions, Settings(exact=exact), Path(name))
        engine = Engine(Path(name))
        order = np.argsort(trials["region"], kind="stable")
        for piece in np.split(order, np.arange(_PIECE, len(order), _PIECE)):
            records[piece] = engine.run(trials[piece])
        classes = engine.golden_class.astype(np.int64)
        engine.close()
    return records, classes


def critical(records: Records) -> NDArray[np.bool_]:
    """Critical by the campaign's rule: numpy's argmax, a NaN first, is not the golden class."""
    return np.asarray(records["rank"] > 0)


def reproduced(shared: Path) -> dict[int, Counts]:
    """Injection -> what PyTorch 2.13 counted on the CPU, for the 30 faults that were re-simulated."""
    with (shared / "fault_lists/ResNet20_reproduced_sample.csv").open(newline="") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    names = [f"reproduced_{name}" for name in ("masked", "non_critical", "critical")]
    return {int(row["Injection"]): Counts(IMAGES, *(int(row[name]) for name in names)) for row in rows}


def show_rates(campaign: Campaign, each: int, seed: int, fast: bool) -> None:
    """Print the comparison per bit and per layer; with `fast`, also how fast runs differ from exact ones."""
    rows, images = drawn(len(campaign.entries), each, seed)
    started = time.monotonic()
    records, _ = replay(campaign, rows, images)
    print(f"\n{len(rows):,} trials, exact, {time.monotonic() - started:.0f} s; {each} images a fault, seed {seed}")
    everything = np.zeros_like(campaign.bits)
    for title, labels in (("bit", campaign.bits), ("layer", campaign.layers), ("all", everything)):
        print(f"\n{title:>5} faults  trials  published       own   seen expected      z   99 % of counts")
        table = lines(campaign.critical, labels, each, critical(records))
        for x in table:
            rates = f"{x.published:10.4%} {x.own:9.4%} {x.seen:6} {x.expected:8.2f} {x.z:+6.2f}"
            print(f"{x.label:5} {x.faults:6} {x.trials:7} {rates}   {x.low} to {x.high}", "" if x.inside else "OUTSIDE")
        print(f"outside of their 99 %: {sum(not x.inside for x in table)} of {len(table)}")
    never = campaign.critical[rows] == 0
    print(f"critical trials of faults that never were: {critical(records)[never].sum()} of {never.sum():,}")
    odd = records["finite"] == 0
    kept = odd & ~critical(records)
    bits = sorted(set(campaign.bits[rows[kept]].tolist()))
    print(
        f"non-finite: {odd.sum()}, of which {kept.sum()} (bits {bits}) keep the golden argmax: critical to onnxfi only"
    )
    shares = np.bincount(records["outcome"], minlength=3) / len(rows)
    print(f"onnxfi's rule: masked {shares[0]:.2%}, non-critical {shares[1]:.2%}, critical {shares[2]:.4%}")
    if fast:
        started = time.monotonic()
        other, _ = replay(campaign, rows, images, exact=False)
        apart = [(other["outcome"] == kind) != (records["outcome"] == kind) for kind in (0, 2)]
        print(f"\nfast, {time.monotonic() - started:.0f} s: {apart[0].sum()} trials are masked in one of the two only,")
        print(f"{apart[1].sum()} are critical in one only, with margins {records['margin'][apart[1]]}")


def main() -> None:
    """Run as a script: see the module's docstring."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=30, help="images a fault")
    parser.add_argument("--fast", action="store_true", help="the rates again with fast runs, and what differs")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    shared = Path(os.environ["ONNXFI_SHARED_DATA"])
    with TemporaryDirectory() as folder:
        export(shared, Path(folder) / "resnet20.onnx")
        campaign = load(shared, Path(folder) / "resnet20.onnx")
        show_rates(campaign, options.images, options.seed, options.fast)


if __name__ == "__main__":
    main()
