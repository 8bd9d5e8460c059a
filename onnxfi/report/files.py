"""The files that a study's folder gets beside its journal; each is there whole or not at all.

    summary.json    the object of onnxfi.report.summary
    layers.csv      target, layer, op, trials, population, value, low, high; target is weights, activations or
                    total (Eq. 15)
    bits.csv        target, dtype, bits, trials, population, value, low, high; bits: '30', or '22-0' for a class of them
    channels.csv    target, layer, channel, trials, value, low, high; empty where no trial fell into the channel.
                    The channel of a weight fault is the output channel that it makes wrong, that of an activation
                    fault the channel that the word lies in
    confusion.csv   target, by, before, after, before_name, after_name, trials, population, value, low, high; of the
                    trials on images whose fault-free answer is `before`, the share whose answer under the fault is
                    `after`: class numbers, or with --groups also numbers of groups (by: class or group); empty for no
                    answer. Where both are the same, the trials that stay. A pair that no trial showed has no row

    report.html     the page of onnxfi.report.page

Rates are fractions.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from onnxfi.metrics.estimate import Estimate
from onnxfi.report.meaning import Meaning
from onnxfi.report.summary import Summary
from onnxfi.report.tables import positions
from onnxfi.study import place
from onnxfi.study.channels import ChannelRate
from onnxfi.study.confusion import Confusion
from onnxfi.study.fragile import Turn

SUMMARY = "summary.json"
_RATE = ["trials", "population", "value", "low", "high"]


def write(folder: Path, summary: Summary, meaning: Meaning, channels: Iterable[ChannelRate]) -> None:
    """Write all of them, over what was there. Raises StudyError for a full or read-only disk."""
    rows = [
        (target, row.layer, row.op, *_rate(estimate))
        for row in summary.layers
        for target, estimate in (("weights", row.weights), ("activations", row.activations), ("total", row.total))
        if estimate
    ]
    layers = pd.DataFrame(rows, columns=["target", "layer", "op", *_RATE])
    bits = pd.DataFrame(
        [(row.target, row.dtype, positions(row.bits), *_rate(row.rate)) for row in summary.bits],
        columns=["target", "dtype", "bits", *_RATE],
    )
    cells = pd.DataFrame(
        [(row.target, row.layer, row.channel, row.trials, row.value, row.low, row.high) for row in channels],
        columns=["target", "layer", "channel", "trials", "value", "low", "high"],
    )
    pairs = pd.DataFrame(
        [
            (m.target, m.by, t.before, t.after if t.after >= 0 else None, *_names(m, t), *_rate(t.rate))
            for m in meaning.confusions
            for t in sorted((*m.stays, *m.cells), key=_place)
        ],
        columns=["target", "by", "before", "after", "before_name", "after_name", *_RATE],
    ).astype({"after": "Int64"})
    write_text(folder / "confusion.csv", pairs.to_csv(index=False, lineterminator="\n"))
    write_text(folder / "layers.csv", layers.to_csv(index=False, lineterminator="\n"))
    write_text(folder / "bits.csv", bits.to_csv(index=False, lineterminator="\n"))
    write_text(folder / "channels.csv", cells.to_csv(index=False, lineterminator="\n"))
    write_text(folder / SUMMARY, summary.to_json())


def _place(turn: Turn) -> tuple[int, float]:
    """Rows of one `before` together, no answer last."""
    return turn.before, turn.after if turn.after >= 0 else math.inf


def _names(matrix: Confusion, turn: Turn) -> tuple[str, str]:
    return matrix.names[turn.before], matrix.names[turn.after] if turn.after >= 0 else "no answer"


def _rate(estimate: Estimate) -> tuple[int, int, float | None, float, float]:
    return estimate.trials, estimate.population, estimate.value, estimate.low, estimate.high


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all. Raises StudyError."""
    part = path.with_name(f"{path.name}.part")
    with place.trouble(path):
        with part.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
