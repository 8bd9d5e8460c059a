"""A DeepVigor+ or DeepVigor analysis as a person reads it in the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from onnxfi.metrics.estimate import Estimate
from onnxfi.report import deepvigor, vigor_experiments
from onnxfi.report.tables import SITES, plain, rate, table, titled

_MOST_BITS = 12


def blocks(found: dict[str, Any]) -> Iterator[RenderableType]:
    """Every block, in reading order, of the object that `onnxfi.report.vigor` or `.deepvigor` gives."""
    if found["method"] == "deepvigor":
        yield from deepvigor.blocks(found)
        return
    yield _title(found)
    for warning in found["warnings"]:
        yield Text.assemble(("WARNING ", "bold red"), (plain(warning), "bold"))
    yield _layers(found)
    yield _model(found)
    if found["bits"]:
        yield _bits(found)
    if any(row and row["non_finite"] for row in found["outcomes"].values()):
        yield _outcomes(found)
    yield _audit(found)
    if found["gradient_test"]:
        yield _gradient(found)
    if found["validation"]:
        yield _validation(found)
    yield from vigor_experiments.blocks(found)
    yield _simulations(found)
    yield Text(
        f"\n{found['image_inferences']:,} image inferences, worth {found['equivalent_inferences']:,.0f} whole ones, "
        f"in {found['seconds']:.1f} s on {found['provider']}"
    )


def _title(found: dict[str, Any]) -> RenderableType:
    sampling = found["sampling"]
    part = "every site"
    if sampling["channels"]:
        sites = f"{sampling['sites']} sites of each" if sampling["sites"] else "log2 of their sites"
        part = f"{100 * sampling['channels']:g} % of channels, {sites}, seed {sampling['seed']}"
    lines = [plain(found["model"]), f"{found['method']}: {part}; {found['images']:,} images"]
    if sampling["images"]:
        lines[-1] += f", {sampling['images']} for each site"
    if found["activation"]:
        lines.append(f"activations: {found['activation']}, {SITES[found['activation']]}")
    text = Text("\n".join(lines))
    text.stylize("bold", 0, len(lines[0]))
    return text


def _targets(found: dict[str, Any]) -> list[str]:
    return [row["target"] for row in found["search"]]


def shown(values: dict[str, Any] | None, digits: int = 2) -> str:
    """A rate in percent, with its interval where it has one."""
    if values is None or values["value"] is None:
        return ""
    estimate = Estimate(**{name: values[name] for name in ("value", "low", "high", "trials", "population")})
    if estimate.low == estimate.high:
        return f"{100 * estimate.low:.{digits}f}"
    return rate(estimate, digits)


def _layers(found: dict[str, Any]) -> RenderableType:
    columns = [*_targets(found), *(["total"] if found["mvf"]["total"] else [])]
    title = f"Vulnerability of each layer (LVF), %, intervals at {100 * found['confidence']:g} %"
    made = table("layer", *columns)
    for row in found["layers"]:
        made.add_row(Text(plain(row["layer"])), *(shown(row[name]) for name in columns))
    return titled(title, made)


def _model(found: dict[str, Any]) -> RenderableType:
    title = "Vulnerability of the model, %"
    made = table("", "value")
    made.columns[1].justify = "left"
    for label, values in (
        ("MVF of weights, mean of the layers", found["mvf"]["weights"]),
        ("MVF of activations, mean of the layers", found["mvf"]["activations"]),
        ("MVF total, Eq. 15", found["mvf"]["total"]),
        ("VF of the population, every bit equally likely", found["population_vf"]),
    ):
        if values:
            made.add_row(label, Text(shown(values, 3), style="bold"))
    return titled(title, made)


def _bits(found: dict[str, Any]) -> RenderableType:
    targets = _targets(found)
    title = f"The {_MOST_BITS} most vulnerable bits, over all layers (BVF), %"
    made = table("bit", *targets)
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    for row in found["bits"]:
        rows.setdefault((row["dtype"], row["bit"]), {})[row["target"]] = row
    worst = sorted(rows, key=lambda key: -max(row["value"] for row in rows[key].values()))[:_MOST_BITS]
    for dtype, bit in sorted(worst, key=lambda key: (key[0], -key[1])):
        made.add_row(f"{dtype} {bit}", *(shown(rows[dtype, bit].get(target)) for target in targets))
    return titled(title, made)


def _outcomes(found: dict[str, Any]) -> RenderableType:
    rows = [found["outcomes"][target] for target in _targets(found)]
    made = table("outcome", *_targets(found))
    made.add_row("critical", *(shown(row["critical"], 3) for row in rows))
    made.add_row("  of it non-finite", *(shown(row["non_finite"], 3) for row in rows))
    return titled("How faults end, every bit equally likely, %", made)


def _audit(found: dict[str, Any]) -> RenderableType:
    title = "The search"
    made = table("", *_targets(found))
    rows = found["search"]
    made.add_row("pairs of site and image", *(f"{row['pairs']:,}" for row in rows))
    made.add_row("values tried for each", *(f"{row['tried'] / row['pairs']:.2f}" for row in rows))
    made.add_row("pairs without a critical deviation, %", *(f"{100 * row['safe']:.1f}" for row in rows))
    if not any(row["audited"] for row in rows):
        return titled(title, made)
    made.add_row("audit: pairs tried whole", *(f"{row['audited']:,}" for row in rows))
    made.add_row("audit: sides not monotone", *(f"{row['broken']:,} of {row['sides']:,}" for row in rows))
    errors = [None if row["error"] is None else 100 * row["error"] for row in rows]
    made.add_row("audit: error of the VF, points", *("-" if e is None else f"{e:+.4f}" for e in errors))
    return titled(title, made)


def _gradient(found: dict[str, Any]) -> RenderableType:
    made, rows = table("", *_targets(found)), found["gradient_test"]
    made.add_row("sides not searched", *(f"{row['skipped']:,} of {row['sides']:,}" for row in rows))
    made.add_row("audit: of these searched all the same", *(f"{row['audited']:,}" for row in rows))
    made.add_row("audit: wrongly skipped", *(f"{row['wrong']:,}" for row in rows))
    errors = [None if row["error"] is None else 100 * row["error"] for row in rows]
    made.add_row("audit: error of the VF by it, points", *("-" if e is None else f"{e:+.4f}" for e in errors))
    return titled("The gradient test", made)


def _validation(found: dict[str, Any]) -> RenderableType:
    title = "Against real injection, intervals at 99 % over channels"
    rows = found["validation"]
    made = table("", *(row["target"] for row in rows))
    made.add_row("channels", *(f"{row['channels']:,}" for row in rows))
    made.add_row("trials", *(f"{row['trials']:,}" for row in rows))
    errors = ([100 * row[name] for name in ("mae", "mae_low", "mae_high")] for row in rows)
    made.add_row("mean absolute error of CVF, points", *(f"{e:.4f} [{low:.4f}, {high:.4f}]" for e, low, high in errors))
    made.add_row("  of the best constant guess", *(f"{100 * row['constant']:.4f}" for row in rows))
    relative = [row["relative"] for row in rows]
    made.add_row("relative error of layers, %", *("-" if r is None else f"{100 * r:.2f}" for r in relative))
    ranks = [[row[name] for name in ("rank", "rank_low", "rank_high")] for row in rows]
    shown_ranks = ("-" if None in r else f"{r[0]:.3f} [{r[1]:.3f}, {r[2]:.3f}]" for r in ranks)
    made.add_row("rank correlation of CVF", *shown_ranks)
    return titled(title, made)


def _simulations(found: dict[str, Any]) -> RenderableType:
    title = "Simulations, each of all images"
    made = table("", *_targets(found))
    rows = found["simulations"]
    for label, name in (
        ("this analysis", "analysis"),
        ("a complete one", "complete"),
        ("exhaustive injection", "exhaustive"),
        ("layer-wise statistical, margin 1 % at 95 %", "layer"),
        ("data-unaware", "data_unaware"),
        ("data-aware", "data_aware"),
    ):
        if any(row[name] is not None for row in rows):
            made.add_row(label, *(f"{row[name]:,.0f}" for row in rows))
    return titled(title, made)
