"""Shards of a study joined, and the whole recomputed: from folders alone, without the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from onnxfi.errors import StudyError
from onnxfi.study import place
from onnxfi.study.finding import Finding, find
from onnxfi.study.journal import LISTED, Journal
from onnxfi.study.merge import merge
from onnxfi.study.scheme import make_scheme
from onnxfi.study.settings import Precision
from onnxfi.study.targets import Targets


def join(shards: Sequence[Path], folder: Path) -> Finding:
    """Merge the folders of a fixed plan's shards into `folder`, and find out what they say together.

    Raises StudyError: they hold different studies, an adaptive one, or different results of one trial.
    """
    for shard in shards:
        kind = place.read_study(shard)[0].plan.get("kind")
        if kind == LISTED:
            raise StudyError(f"{shard} is a replay of a fault list: join it with `onnxfi faults merge`.")
        if kind == "adaptive":
            raise StudyError(
                f"{shard} is an adaptive study, which has no shards; only those of a fixed --plan are joined."
            )
    merge(shards, folder)
    with Journal.read(folder) as journal:
        return found(journal)


def found(journal: Journal) -> Finding:
    """What the study of a journal found, as far as it has come."""
    identity, about = journal.identity, journal.about
    if identity.plan.get("kind") == LISTED:
        raise StudyError(f"{journal.folder} is a replay of a fault list, which has results.csv and no page.")
    try:
        settings: Mapping[str, Any] = about["settings"]
        precision = Precision(**settings["precision"])
        targets = Targets.restore(identity.space["fault_model"], identity.space["regions"], about["names"])
        scheme = make_scheme(identity.plan, precision, targets, int(identity.data["images"]))
    except (KeyError, TypeError, ValueError) as error:
        raise StudyError(f"{journal.folder} was written by another version of onnxfi; use that version.") from error
    return find(journal, targets, scheme, int(identity.data["images"]), precision.confidence)
