"""Fault lists back into files: with or without results, or as a report of keras_weight_injector."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from onnxfi.errors import FaultError
from onnxfi.faults.forms import Format, LineEnds
from onnxfi.faults.listing import FAULT, GOLDEN, REPORT, RESULTS, Counts, Entry, FaultList


def list_text(listed: FaultList, form: Format = "results", line_ends: LineEnds = "lf") -> str:
    """The file's text, one row a fault, in the list's order.

    FaultError where the form wants what the list does not have: results, or for a report the labels' counts.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator={"lf": "\n", "crlf": "\r\n"}[line_ends])
    if form == "keras-report":
        writer.writerow(REPORT)
        if listed.golden is None:
            raise FaultError(f"{listed.source}: a report of keras_weight_injector needs images with labels.")
        writer.writerow([GOLDEN, "", "", "", *listed.golden, *[""] * 4])  # a field short, as the tool writes it
    else:
        writer.writerow(FAULT if form == "list" else FAULT + RESULTS)
    for entry in listed.entries:
        writer.writerow([*_fault(entry), *_results(listed.source, entry, form)])
    return text.getvalue()


def own_format(listed: FaultList) -> Format:
    """The form that loses nothing of the list."""
    if not all(entry.counts for entry in listed.entries):
        return "list"
    return "keras-report" if listed.golden and all(e.counts and e.counts.scores for e in listed.entries) else "results"


def write_list(listed: FaultList, path: Path, form: Format = "results", line_ends: LineEnds = "lf") -> None:
    """Write `list_text` to `path`. FaultError where it cannot be written."""
    text = list_text(listed, form, line_ends)
    try:
        path.write_bytes(text.encode())
    except OSError as error:
        raise FaultError(f"{path}: the fault list cannot be written ({error.strerror}).") from error


def _fault(entry: Entry) -> Iterator[Any]:
    yield from (entry.injection, entry.layer, str(entry.index), entry.bit)


def _results(source: str, entry: Entry, form: Format) -> tuple[int, ...]:
    if form == "list":
        return ()
    if entry.counts is None:
        raise FaultError(f"{source}: {entry} has no results to write; give --format list.")
    counts: Counts = entry.counts
    outcomes = (counts.masked, counts.non_critical, counts.critical)
    if form == "results":
        return (counts.injections, *outcomes)
    if counts.scores is None:
        raise FaultError(f"{source}: {entry} has no counts of correct and robust images, which a report wants.")
    s = counts.scores
    return (counts.injections, s.top1_correct, s.top5_correct, s.top1_robust, s.top5_robust, *outcomes)
