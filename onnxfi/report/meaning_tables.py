"""What a study means, in the terminal: SDC, accuracy, SCM by setting, failures in time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from onnxfi.report.meaning import Meaning
from onnxfi.report.tables import plain, rate, table, titled
from onnxfi.report.words import CORRUPTION, SETTINGS, fit
from onnxfi.study.scm import FaultFree, Setting

_ACCURACY = {"accuracy": "accuracy under a fault", "accuracy_loss": "accuracy lost"}


def blocks(meaning: Meaning) -> Iterator[RenderableType]:
    """Every block, in reading order."""
    made = table("", *(c.target for c in meaning.corruption))
    for field, name in {**CORRUPTION, **_ACCURACY}.items():
        cells = [rate(getattr(part, field)) for part in meaning.corruption]
        if any(cells):
            made.add_row(name, *cells)
    yield titled("What becomes of answers, every bit equally likely, %", made)
    if meaning.safety:
        title = f"Safety-critical misclassification, groups {plain(meaning.safety.groups.name)}, %"
        yield _settings(title, meaning.safety.settings, meaning.safety.fault_free)
    if meaning.drawn:
        yield _settings("The same, faults drawn as TensorFI+ draws them, %", meaning.drawn_settings, None)
    if meaning.fit:
        made = table("model", "bits", "FIT")
        for part in meaning.fit:
            if part.layer is None:
                made.add_row(part.target, f"{part.rate.population:,}", fit(part.rate))
        yield titled(f"Failures in time, from {meaning.per_mbit:g} FIT per Mbit", made)


def _settings(title: str, settings: Sequence[Setting], fault_free: FaultFree | None) -> RenderableType:
    made = table("images", "faults in", "critical", "SCM of mistakes")
    made.columns[1].justify = "left"
    if fault_free:
        made.add_row("all images", Text("nothing", style="italic"), "", rate(fault_free.share))
    for row in settings:
        made.add_row(SETTINGS[row.name], row.target, rate(row.sdc), rate(row.share))
    return titled(title, made)
