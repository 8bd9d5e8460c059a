"""What a person reads in the terminal: at most 80 columns, rates in percent, each with its interval.

Names come out of a stranger's file: they are printed as data, never as markup, and without control characters.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from onnxfi.metrics.estimate import Estimate
from onnxfi.report.summary import Outcomes, Summary

WIDTH = 80
SITES = {
    "input": "the stored word that a layer reads",
    "output": "the word that a layer's op writes",
    "mac": "one operand of one output neuron",
}


def console(*, stderr: bool = False) -> Console:
    """A console of at most 80 columns; colour only on a terminal, and never where NO_COLOR is set."""
    made = Console(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=False)
    if made.width > WIDTH or not made.is_terminal:
        made.width = WIDTH
    return made


def plain(name: str) -> str:
    """`name` with everything that does not print written as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in name)


def rate(estimate: Estimate | None, digits: int = 2) -> str:
    """'1.28 [1.18, 1.39]' in percent; empty where not asked, a dash for the value where nothing was seen."""
    if estimate is None:
        return ""
    low, high = f"{100 * estimate.low:.{digits}f}", f"{100 * estimate.high:.{digits}f}"
    value = "-" if estimate.value is None else f"{100 * estimate.value:.{digits}f}"
    return f"{value} [{low}, {high}]"


def study(summary: Summary) -> Iterator[RenderableType]:
    """Every block of a study's report, in reading order."""
    yield _title(summary)
    yield from _warnings(summary)
    yield _layers(summary)
    yield _model(summary)
    yield _bits(summary)
    yield _worst(summary)
    yield _outcomes(summary)
    yield _cost(summary)


def _title(summary: Summary) -> RenderableType:
    lines = [plain(summary.model)]
    golden = summary.golden_accuracy
    if golden:
        lines.append(
            f"fault-free: top-1 {100 * golden.top1:.2f} %, top-5 {100 * golden.top5:.2f} % of {golden.images:,} images"
        )
    if summary.activation:
        lines.append(f"activations: {summary.activation}, {SITES[summary.activation]}")
    text = Text("\n".join(lines))
    text.stylize("bold", 0, len(lines[0]))
    return text


def _warnings(summary: Summary) -> Iterator[RenderableType]:
    for warning in summary.warnings:
        yield Text.assemble(("WARNING ", "bold red"), (plain(warning), "bold"))


def table(*columns: str) -> Table:
    """A bare table: the first column to the left and folded, the others to the right and never folded."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        made.add_column(Text(column), justify="right" if index else "left", overflow="fold", no_wrap=bool(index))
    return made


def titled(title: str, made: Table) -> RenderableType:
    """The table under an empty line and a title, which may be wider than it."""
    return Group("", Text(title, style="bold"), made)


def _layers(summary: Summary) -> RenderableType:
    confidence = f"{100 * float(summary.settings['precision']['confidence']):g} %"
    title = f"Vulnerability of each layer (LVF), % with its {confidence} interval"
    columns = [name for name, shown in _targets(summary) if shown]
    if summary.mvf_total:
        columns.append("total")
    made = table("layer", *columns)
    for row in summary.layers:
        rates = {"weights": row.weights, "activations": row.activations, "total": row.total}
        made.add_row(Text(plain(row.layer)), *(rate(rates[name]) for name in columns))
    return titled(title, made)


def _targets(summary: Summary) -> tuple[tuple[str, Estimate | None], ...]:
    return (("weights", summary.mvf_weights), ("activations", summary.mvf_activations))


def _model(summary: Summary) -> RenderableType:
    title = "Vulnerability of the model, %"
    made = table("", "value")
    made.columns[1].justify = "left"
    for label, estimate in (
        ("MVF of weights, mean of the layers", summary.mvf_weights),
        ("MVF of activations, mean of the layers", summary.mvf_activations),
        ("MVF total, Eq. 15", summary.mvf_total),
        ("VF of the population, every bit equally likely", summary.population_vf),
    ):
        if estimate:
            made.add_row(label, Text(rate(estimate, 3), style="bold"))
    return titled(title, made)


def _bits(summary: Summary) -> RenderableType:
    title = "Bits, over all layers, %"
    made = table("bit", *(name for name, shown in _targets(summary) if shown))
    targets = [name for name, shown in _targets(summary) if shown]
    found: dict[tuple[str, tuple[int, ...]], dict[str, Estimate]] = {}
    for row in summary.bits:
        found.setdefault((row.dtype, row.bits), {})[row.target] = row.rate
    for (dtype, bits), rates in sorted(found.items(), key=lambda item: (item[0][0], -max(item[0][1]))):
        made.add_row(f"{dtype} {positions(bits)}", *(rate(rates.get(target), 3) for target in targets))
    return titled(title, made)


def positions(bits: tuple[int, ...]) -> str:
    """'30' or '22-0' or '31, 22-20': positions from the highest down, runs joined."""
    runs: list[list[int]] = []
    for bit in sorted(bits, reverse=True):
        if runs and runs[-1][-1] == bit + 1:
            runs[-1].append(bit)
        else:
            runs.append([bit])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def _worst(summary: Summary) -> RenderableType:
    title = "Most vulnerable"
    made = table("layer", "of", "LVF, %")
    for target, layer, estimate in summary.most_vulnerable:
        made.add_row(Text(plain(layer)), target, rate(estimate))
    return titled(title, made)


def _outcomes(summary: Summary) -> RenderableType:
    title = "How faults end, %"
    made = table("outcome", *(name for name, shown in _targets(summary) if shown))
    ends = [end for end in (summary.outcomes_weights, summary.outcomes_activations) if end]
    for label, name in (
        ("masked", "masked"),
        ("non-critical", "non_critical"),
        ("critical", "critical"),
        ("  of it non-finite", "non_finite"),
    ):
        made.add_row(label, *(rate(_share(end, name), 3) for end in ends))
    return titled(title, made)


def _share(outcomes: Outcomes, name: str) -> Estimate:
    shares: dict[str, Estimate] = vars(outcomes)
    return shares[name]


def _cost(summary: Summary) -> RenderableType:
    lines = [
        f"\n{summary.trials:,} trials in {summary.seconds:.1f} s, {summary.trials_per_second:,.0f} a second, "
        f"on {summary.provider}",
        f"{summary.image_inferences:,} image inferences, worth {summary.equivalent_inferences:,.0f} whole ones",
        *_plan(summary),
    ]
    return Text("\n".join(lines), overflow="fold")


def _plan(summary: Summary) -> Iterator[str]:
    """How trials were drawn; of a data-aware plan also the p of each bit that it went by."""
    plan, done = summary.plan, "converged"
    words = [f"plan {plan['kind']}"]
    if "faults" in plan:
        words.append(f"{plan['faults']:,} faults on all images")
        done = "complete"
    if "margin" in plan:
        words.append(f"margin {100 * plan['margin']:g} % at {100 * plan['confidence']:g} %")
    yield ", ".join([*words, f"seed {summary.seed}", done if summary.converged else f"NOT {done}"])
    if "p" in plan:
        yield from _expected(plan["p"])


def _expected(p: dict[str, Any]) -> Iterator[str]:
    """'p of bits of weights (float32), by pilot: 31, 29-0: 0.0062; 30: 0.49': bits of one p together."""
    found: dict[tuple[str, str], dict[float, list[int]]] = {}
    for row in p.get("bits", ()):
        found.setdefault((row["target"], row["dtype"]), {}).setdefault(row["p"], []).append(row["bit"])
    for (target, dtype), rates in found.items():
        told = "; ".join(f"{positions(tuple(bits))}: {rate:g}" for rate, bits in rates.items())
        yield f"p of bits of {target} ({dtype}), by {p['source']}: {told}"
