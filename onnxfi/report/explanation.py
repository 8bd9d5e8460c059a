"""One site as a person reads it: its range, what each bit does, and how large the errors are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from rich.console import RenderableType
from rich.text import Text

from onnxfi.report.tables import plain, table, titled
from onnxfi.vigor.edm import EDGES
from onnxfi.vigor.explain import Explanation

_BAR = 40


def blocks(found: Explanation) -> Iterator[RenderableType]:
    """Every block, in reading order."""
    name = f"{plain(found.tensor)}[{','.join(map(str, found.index))}]"
    spread = (
        f"{found.values.min():.6g}"
        if np.ptp(found.values) == 0
        else f"{found.values.min():.6g} to {found.values.max():.6g}"
    )
    text = Text(f"{name}\n{found.kind} of layer {plain(found.layer)}; {len(found.values):,} images; value {spread}")
    text.stylize("bold", 0, len(name))
    yield text
    yield Text(f"VF {100 * found.critical.mean():.3f} %, every bit run on every image")
    yield _range(found)
    yield _bits(found)
    yield _map(found)


def _range(found: Explanation) -> RenderableType:
    made = table("", "of all images", "median", "images without")
    for name, bounds, nearest in (
        ("delta-", found.lower, found.lower.max()),
        ("delta+", found.upper, found.upper.min()),
    ):
        made.add_row(name, f"{nearest:.6g}", f"{np.median(bounds):.6g}", f"{int(np.isinf(bounds).sum()):,}")
    return titled("Deviations from which the answer changes", made)


def _bits(found: Explanation) -> RenderableType:
    made = table("bit", "critical, %", "of it non-finite", "median deviation")
    with np.errstate(all="ignore"):
        middle = np.median(found.deviations, axis=0)
    for bit, rate, lost, deviation in zip(found.bits, found.critical, found.non_finite, middle, strict=True):
        if rate > 0 or bit >= found.bits[0] - 9:
            made.add_row(str(bit), f"{100 * rate:.1f}", f"{100 * lost:.1f}", f"{deviation:.4g}")
    return titled("Bits: sign, exponent, and all that are ever critical", made)


def _map(found: Explanation) -> RenderableType:
    made = table("from", "to", "%", "")
    made.columns[3].justify = "left"
    edges = [-np.inf, *EDGES, np.inf]
    for low, high, share in zip(edges, edges[1:], found.map, strict=False):
        if share > 0:
            made.add_row(f"{low:g}", f"{high:g}", f"{100 * share:.2f}", "#" * max(1, round(_BAR * share)))
    return titled("Errors of its flips (error distribution map)", made)
