"""What a replay found, from its folder alone: the list again with counts, and how it went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.errors import StudyError
from onnxfi.faults.forms import NanRule
from onnxfi.faults.listing import Entry, FaultList, parse_list
from onnxfi.metrics.facts import TALLY, counts, sums
from onnxfi.study.blocks import GOLDEN
from onnxfi.study.journal import LISTED, Journal
from onnxfi.study.merge import merge
from onnxfi.study.result import Cost


@dataclass(frozen=True)
class Replayed:
    """A replay so far.

    listed     the faults that ran on all images, as the list has them, with what they did; `golden` where there are
               labels
    published  the same rows with the list's own results; None where it has none
    rule       whose masked and critical
    faults     rows of the whole list
    images     that each fault is to run on
    finite     trials with finite logits only
    """

    folder: Path
    listed: FaultList
    published: FaultList | None
    rule: NanRule
    faults: int
    images: int
    finite: int
    cost: Cost
    identity: Mapping[str, Any]
    about: Mapping[str, Any]

    @property
    def complete(self) -> bool:
        """Whether every fault of the list ran on all images."""
        return len(self.listed.entries) == self.faults


def replayed(folder: Path, rule: NanRule) -> Replayed:
    """Read a replay's folder; StudyError where it holds none."""
    with Journal.read(folder) as journal:
        identity, about = journal.identity, journal.about
        if identity.plan.get("kind") != LISTED:
            raise StudyError(f"{folder} is no replay of a fault list, but a study of `onnxfi analyze`.")
        images, labels = int(identity.data["images"]), bool(about["labels"])
        given = parse_list(str(about["list"]), str(about["source"]))
        rows: list[NDArray[Any]] = []
        golden: list[NDArray[Any]] = []
        for result in journal.results():
            (golden if result.unit.pieces[0].stratum == GOLDEN else rows).append(result.records)
        cost = journal.cost()
    tally = sums(np.concatenate(rows), len(given.entries)) if rows else sums(np.zeros(0, TALLY), len(given.entries))
    done = [number for number, row in enumerate(tally) if row["images"] == images]
    entries = tuple(replace(given.entries[n], counts=counts(tally[n], rule, labels)) for n in done)
    whole = sums(np.concatenate(golden), 1)[0] if golden and labels else None
    told = tuple(given.entries[n] for n in done)
    return Replayed(
        folder,
        FaultList(given.source, entries, _golden(whole, images)),
        FaultList(given.source, told) if all(entry.counts for entry in given.entries) else None,
        rule,
        len(given.entries),
        images,
        int(tally["finite"][done].sum()),
        cost,
        {**vars(identity)},
        about,
    )


def _golden(whole: Any, images: int) -> tuple[int, int, int] | None:
    """Images, top-1 and top-5 correct of the fault-free run, once it was made on all of them."""
    if whole is None or int(whole["images"]) != images:
        return None
    return images, int(whole["correct1"]), int(whole["correct5"])


def join(shards: list[Path], folder: Path, rule: NanRule) -> Replayed:
    """Merge the folders of a replay's shards into `folder`, and read it.

    Raises StudyError: they hold different replays, or different counts of one fault.
    """
    for shard in shards:
        replayed(shard, rule)
    merge(shards, folder)
    return replayed(folder, rule)


def pairs(found: Replayed) -> list[tuple[Entry, Entry]]:
    """Each fault as replayed and as published, where the list has results of as many images; else none."""
    if found.published is None:
        return []
    both = zip(found.listed.entries, found.published.entries, strict=True)
    return [(own, said) for own, said in both if said.counts and said.counts.images == found.images]
