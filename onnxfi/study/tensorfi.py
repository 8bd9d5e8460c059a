"""The three settings of Laskar et al. (PRDC 2022), with faults drawn as TensorFI+ draws them.

A trial flips one random bit of one random element of one random layer output, for one image: layers are uniform,
whatever their sizes, then elements, then bits. A layer output is what any node writes, but the model's output. Each
setting gets TRIALS trials on random images of its kind, at most CAPS of them on one image (and so fewer where images
are few). The settings are drawn one apart from the other. Every trial counts alike, so rates are plain binomials.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.engine.prepare import Settings
from onnxfi.engine.probe import Probe, Rows
from onnxfi.errors import DataError, StudyError
from onnxfi.faults.space import FaultSpace, Region
from onnxfi.graph.network import Network
from onnxfi.metrics.combine import binomial
from onnxfi.metrics.estimate import Estimate
from onnxfi.metrics.outcome import CRITICAL, RECORD
from onnxfi.metrics.safety import NON_SCM, SCM, Groups
from onnxfi.study import place
from onnxfi.study.answers import Answers
from onnxfi.study.assembly import Assembly
from onnxfi.study.finding import Finding
from onnxfi.study.pool import scatter
from onnxfi.study.scm import Setting, SettingName, image_kinds
from onnxfi.study.source import prepared, workshop
from onnxfi.study.targets import chosen_bits

TRIALS = 3000
CAPS: Mapping[SettingName, int] = {"correct": 5, "wrong": 30, "wrong_scm": 30, "wrong_non_scm": 30}
FILE = "tensorfi.json"
_BYTES = 256 << 20  # of golden values, at a time
_PARTS = 12  # that the layers are run in, at least, where there are as many


@dataclass(frozen=True)
class Drawn:
    """Counts of one setting: images of the kind, trials, and how many were critical, SCM, non-SCM."""

    name: SettingName
    images: int
    trials: int
    critical: int
    scm: int
    non_scm: int

    def setting(self, confidence: float, population: int) -> Setting:
        """The rates, with exact binomial intervals."""

        def rate(count: int, of: int) -> Estimate:
            limits = binomial(count, of, confidence)
            return Estimate(limits.value, limits.low, limits.high, of, population)

        wrong = self.scm + self.non_scm
        return Setting(
            self.name,
            "activations",
            self.images,
            rate(self.critical, self.trials),
            rate(self.scm, self.trials),
            rate(self.scm, wrong) if wrong else None,
        )


@dataclass(frozen=True)
class ThreeSettings:
    """What was drawn; `layers`: outputs drawn from, `population`: their faults. Plain JSON values in FILE."""

    groups: str
    layers: int
    population: int
    drawn: tuple[Drawn, ...]

    def settings(self, confidence: float) -> tuple[Setting, ...]:
        """The rates of each setting."""
        return tuple(drawn.setting(confidence, self.population) for drawn in self.drawn)

    def to_json(self) -> str:
        """As text."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, folder: Path) -> ThreeSettings | None:
        """From a study's folder; None where it has none. Raises StudyError for a torn file."""
        path = folder / FILE
        if not path.is_file():
            return None
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            return cls(**{**values, "drawn": tuple(Drawn(**drawn) for drawn in values["drawn"])})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise StudyError(f"{path} is torn ({error}); delete it and run the study's command again.") from error


@dataclass(frozen=True)
class Drawing:
    """How far the settings are: trials run of all of them, after so many seconds."""

    done: int
    trials: int
    seconds: float

    @property
    def left(self) -> float | None:
        """Seconds that the rest should take; None before anything is done."""
        return self.seconds * (self.trials - self.done) / self.done if self.done else None


Listener = Callable[[Drawing], None]


def add(
    assembly: Assembly,
    finding: Finding,
    groups: Groups,
    folder: Path,
    workers: int = 1,
    listener: Listener | None = None,
) -> None:
    """Run the three settings on a study's model and images, and write FILE into its folder.

    Raises DataError without labels, or for groups of other classes; EngineError, StudyError. Stopped by ^C, nothing is
    written.
    """
    if finding.evidence is None:
        raise StudyError(f"{folder} keeps no fault-free answers; run the study in a new folder.")
    answers, seed = finding.evidence.answers, assembly.asked.plan.seed
    with workshop(folder) as work:
        bench = Bench(assembly.network, assembly.probe, assembly.dataset.images, assembly.engine, work)
        found = three_settings(bench, answers, groups, seed, workers, listener)
    with place.trouble(folder / FILE):
        (folder / FILE).write_text(found.to_json(), encoding="utf-8")


@dataclass(frozen=True)
class Bench:
    """What every trial runs on. `images` (N, ...) as the model takes them; `folder` is for what engines need meanwhile.

    It is picklable, for the processes that the trials are scattered over.
    """

    network: Network
    probe: Probe
    images: NDArray[Any]
    settings: Settings
    folder: Path


def three_settings(
    bench: Bench, answers: Answers, groups: Groups, seed: int, workers: int = 1, listener: Listener | None = None
) -> ThreeSettings:
    """Draw and run them all; the numbers are the same for any number of workers.

    Raises DataError without labels, or for groups of other classes; EngineError.
    """
    if answers.labels is None:
        raise DataError("The settings of TensorFI+ are told apart by labels; give images with labels.")
    groups.check(answers.outputs)
    space = FaultSpace(layer_outputs(bench.network, bench.probe))
    pools = {name: np.flatnonzero(kind) for name, kind in image_kinds(answers, groups).items() if name in CAPS}
    trials = {
        name: draw(space, pool, CAPS[name], TRIALS, seed, stream) for stream, (name, pool) in enumerate(pools.items())
    }
    listener = listener or (lambda drawing: None)
    records = _run(bench, space, np.concatenate(list(trials.values())), workers, listener)
    drawn, start = [], 0
    for name, mine in trials.items():
        drawn.append(_count(name, len(pools[name]), records[start : start + len(mine)], answers, groups))
        start += len(mine)
    return ThreeSettings(groups.name, len(space.regions), space.size, tuple(drawn))


def layer_outputs(network: Network, probe: Probe) -> list[Region]:
    """What every node writes for each image, but the model's output."""
    names = [name for node in network.model.graph.node for name in node.output]
    found = []
    for name in names:
        kind = probe.kinds.get(name)
        if name != network.output and isinstance(kind, Rows):
            bits = chosen_bits(None, kind.dtype)
            found.append(Region("activations", "input", 0, name, kind.size, kind.dtype, bits))
    return found


def draw(space: FaultSpace, pool: NDArray[np.int64], cap: int, count: int, seed: int, stream: int) -> NDArray[np.void]:
    """TRIAL (T,), T = `count` or as many as `cap` trials on each image of `pool` make."""
    count = min(count, cap * len(pool))
    # NumPy's legacy generator, because its streams are frozen (NEP 19): no new release changes a study.
    chance = np.random.RandomState([seed & 0xFFFFFFFF, seed >> 32, stream])
    region = chance.randint(0, len(space.regions), count)
    sites = np.array([entry.sites for entry in space.regions])[region]
    site = (chance.random_sample(count) * sites).astype(np.int64)
    bits = [entry.bits for entry in space.regions]
    places = (chance.random_sample(count) * np.array([len(some) for some in bits])[region]).astype(np.int64)
    bit = np.array([bits[number][which] for number, which in zip(region, places, strict=True)], np.int64)
    open_, used = list(pool), dict.fromkeys(pool.tolist(), 0)
    images = np.zeros(count, np.int64)
    for trial in range(count):
        which = chance.randint(len(open_))
        image = int(open_[which])
        images[trial] = image
        used[image] += 1
        if used[image] == cap:
            open_[which] = open_[-1]
            open_.pop()
    return space.trials(space.ids(region, site, bit), images)


@dataclass(frozen=True)
class _Part:
    """Some regions, and the trials in them: TRIAL whose regions and images count within `regions` and `images`."""

    regions: tuple[Region, ...]
    images: NDArray[np.int64]
    trials: NDArray[np.void]


def _run(
    bench: Bench, space: FaultSpace, trials: NDArray[np.void], workers: int, listener: Listener
) -> NDArray[np.void]:
    """RECORD (T,), some layers at a time, each time with the images drawn for them alone."""
    records, started, done = np.zeros(len(trials), RECORD), time.monotonic(), 0
    places, parts = [], []
    for members in _chunks(bench.probe, space, trials):
        mine = np.flatnonzero(np.isin(trials["region"], members))
        images, row = np.unique(trials["image"][mine], return_inverse=True)
        some = trials[mine].copy()
        some["region"], some["image"] = np.searchsorted(members, some["region"]), row
        places.append(mine)
        parts.append(_Part(tuple(space.regions[number] for number in members), images, some))
    listener(Drawing(0, len(trials), 0.0))
    for number, found in scatter(_run_part, bench, parts, workers):
        records[places[number]] = found
        done += len(found)
        listener(Drawing(done, len(trials), time.monotonic() - started))
    records["image"] = trials["image"]
    return records


def _run_part(bench: Bench, part: _Part) -> NDArray[np.void]:
    with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
        images = bench.images[part.images]
        opened = prepared(bench.network, bench.probe, images, part.regions, bench.settings, Path(folder))
        found = opened.run(part.trials)
        opened.close()
    return found


def _chunks(probe: Probe, space: FaultSpace, trials: NDArray[np.void]) -> Iterator[list[int]]:
    """Regions, ascending, that fit into memory together with the images drawn for them; _PARTS of them or more, so that
    several workers have something to do. The same for any number of workers."""
    numbers = np.unique(trials["region"]).tolist()
    most = -(-len(numbers) // _PARTS)
    members: list[int] = []
    size = 0
    for number in numbers:
        region = space.regions[number]
        images = len(np.unique(trials["image"][trials["region"] == number]))
        need = images * region.elements * np.dtype(probe.rows(region.tensor).dtype).itemsize * (len(members) + 1)
        if members and (len(members) == most or size + need > _BYTES):
            yield members
            members, size = [], 0
        members.append(number)
        size += need
    if members:
        yield members


def _count(name: SettingName, images: int, records: NDArray[Any], answers: Answers, groups: Groups) -> Drawn:
    critical = records["outcome"] == CRITICAL
    answered = records[critical & (records["finite"] == 1)]
    kinds = groups.kind(answers.top1[answered["image"]], answered["top1"])
    return Drawn(
        name, images, len(records), int(critical.sum()), int((kinds == SCM).sum()), int((kinds == NON_SCM).sum())
    )
