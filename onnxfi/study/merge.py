"""Several folders of one fixed plan, run in shards, become one study: the same as if it had been run as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnxfi.errors import StudyError
from onnxfi.study.journal import Journal
from onnxfi.study.result import Result


@dataclass(frozen=True)
class Merged:
    """What came together.

    units     in the merged study
    repeated  units that two folders hold, the same in both: counted once
    missing   draws (faults, in a crossed plan) that were planned and that no folder holds; the plan's own command, run
              on the merged folder without a shard, fills them
    """

    units: int
    repeated: int
    missing: int


def merge(folders: Sequence[str | Path], out: str | Path) -> Merged:
    """Write the units of all folders into the study `out`, new or begun before; the folders stay as they are.

    Raises StudyError where the folders hold different studies or plans, or two of them different results of one unit,
    and as Journal.open and Journal.read do. What a folder gave is in `out` whole or not at all.
    """
    if not folders:
        raise StudyError("There is nothing to merge; give the folders of the shards.")
    with ExitStack() as stack:
        shards = [stack.enter_context(Journal.read(folder)) for folder in folders if not _same(folder, out)]
        first = shards[0]
        for shard in shards[1:]:
            if difference := first.identity.difference(shard.identity):
                name, one, other = difference
                raise StudyError(
                    f"These are different studies: {name} is {one} in {first.folder} and {other} in {shard.folder}."
                )
        whole = stack.enter_context(Journal.open(out, first.identity, _whole(first.about)))
        repeated = 0
        for shard in shards:
            _plan(whole, shard)
            repeated += _take(whole, shard)
        allocations = whole.rounds()
        missing = sum(
            int((allocation - whole.counts(number, len(allocation))[:, 0]).sum())
            for number, allocation in enumerate(allocations)
        )
        return Merged(whole.size(), repeated, missing)


def _whole(about: Mapping[str, Any]) -> dict[str, Any]:
    """A shard's notes without the word that it is one."""
    settings = about.get("settings")
    if not settings:
        return dict(about)
    return {**about, "settings": {**settings, "plan": {**settings["plan"], "shard": None}}}


def _same(folder: str | Path, out: str | Path) -> bool:
    return Path(folder).resolve() == Path(out).resolve()


def _plan(whole: Journal, shard: Journal) -> None:
    """The rounds of one are those of the other, or the beginning of them."""
    known, new = whole.rounds(), shard.rounds()
    for number, allocation in enumerate(new):
        if number >= len(known):
            whole.plan(number, allocation)
        elif not np.array_equal(known[number], allocation):
            raise StudyError(
                f"{shard.folder} planned round {number} otherwise than the folders before it; leave it out."
            )


def _take(whole: Journal, shard: Journal) -> int:
    """Copy the units that are not there yet; how many were."""
    repeated = new = 0

    def fresh() -> Iterator[Result]:
        nonlocal repeated, new
        for result in shard.results():
            there = whole.result(result.unit.round, result.unit.index)
            if there is None:
                new += 1
                yield result
            elif there.unit == result.unit and there.records.tobytes() == result.records.tobytes():
                repeated += 1
            else:
                which = f"unit {result.unit.index} of round {result.unit.round}"
                raise StudyError(f"{shard.folder} and a folder before it differ in {which}; run one of the two again.")

    whole.add_all(fresh())
    if new:
        whole.add_preparation(shard.preparation())
    return repeated
