"""What the tests of the journal share: an identity, made-up results of units, a small study, a folder's bytes."""

from __future__ import annotations

from pathlib import Path

import fake_engine
import numpy as np

from onnxfi.faults.space import TRIAL
from onnxfi.study.identity import Identity
from onnxfi.study.journal import Journal
from onnxfi.study.result import Cost, Result
from onnxfi.study.units import Piece, Unit

IDENTITY = Identity(
    model="ab" * 32,
    data={"images": 4, "sha256": "cd" * 32, "steps": ["1/255"]},
    space={
        "fault_model": "bit-flip",
        "regions": [{"layer": 0, "tensor": "conv0.weight"}, {"layer": 1, "tensor": "fc"}],
    },
    plan={"kind": "adaptive"},
    seed=1,
    criterion="top-1",
    arithmetic="fast",
    provider="CPUExecutionProvider",
    onnxruntime="1.25.0",
)


def result(index: int, *lengths: int, each: int = 1, round_: int = 0) -> Result:
    """A unit with a piece of each length, made-up trials and the fake engine's records."""
    trials = np.zeros(sum(lengths) * each, TRIAL)
    trials["fault"] = np.arange(len(trials)) + 1000 * index
    trials["toggle"] = 1 << 30
    pieces = tuple(Piece(stratum, 10, 10 + length) for stratum, length in enumerate(lengths))
    return Result(Unit(round_, index, pieces), fake_engine.records(trials), Cost(len(trials), len(trials) / 2, 0.25))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def begun(folder: Path) -> Path:
    """The folder, now with a study of one round and three units."""
    with Journal.open(folder, IDENTITY, {"model": "net.onnx"}) as journal:
        journal.plan(0, np.array([30, 20]))
        journal.add_preparation(Cost(4, 4.0, 1.5))
        for index in (2, 0, 1):  # workers end in any order
            journal.add(result(index, 20, 7))
    return folder
