"""A replayed fault list in the terminal, as files, and for programs.

results.csv     the list with what each fault did, in the form asked for
comparison.csv  where the list brought results of as many images: own and published counts side by side
replay.json     the object that `onnxfi faults run --json` prints; shares are fractions of the trials that were run,
                of this list and these images: no estimate of anything larger

    model, list, form, nan_rule, faults, done, images, trials, complete, labels
    matched[]    {name, layer, tensor, how}: metadata, initializer, graph or weights
    outcomes     {masked, non_critical, critical, non_finite}: trials
    bits[]       {bit, faults, trials, masked, non_critical, critical}
    golden       {images, top1, top5} correct, fault-free; null without labels
    published    null, or {faults, differences: {own less published critical: faults}, notable}; notable, of the
                 faults that the list calls critical on at least 1 % of the images: {faults, equal, within_1,
                 within_2, own, published}
    image_inferences, equivalent_inferences, seconds, provider, arithmetic, warnings[]
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from onnxfi.faults.forms import Format, LineEnds
from onnxfi.faults.listing import Counts, Entry
from onnxfi.faults.writing import write_list
from onnxfi.report.tables import plain, table, titled
from onnxfi.study import place
from onnxfi.study.replayed import Replayed, pairs

RESULTS, COMPARISON, REPLAY = "results.csv", "comparison.csv", "replay.json"
NOTABLE = 0.01
"""Share of critical images from which on a fault's count says something beyond rounding."""

_COLUMNS = ("masked", "non_critical", "critical")
_HOW = {
    "metadata": "by the names recorded in the model",
    "initializer": "by the names of initializers",
    "graph": "by the names of nodes",
    "weights": "by the numbers in their weights",
}


def write(found: Replayed, form: Format = "results", line_ends: LineEnds = "lf") -> None:
    """Write the files into the replay's folder. FaultError where the form wants labels that there are not."""
    write_list(found.listed, found.folder / RESULTS, form, line_ends)
    both = pairs(found)
    with place.trouble(found.folder):
        (found.folder / REPLAY).write_text(to_json(found), encoding="utf-8")
        if both:
            (found.folder / COMPARISON).write_bytes(_comparison(both).encode())


def to_json(found: Replayed) -> str:
    """The object of replay.json."""
    return json.dumps(facts(found), indent=1) + "\n"


def facts(found: Replayed) -> dict[str, Any]:
    """All that is told, in plain JSON values."""
    counts = [_counts(entry) for entry in found.listed.entries]
    trials = sum(count.injections for count in counts)
    golden = found.listed.golden
    return {
        "model": found.about["model"],
        "list": found.about["source"],
        "form": found.about["form"],
        "nan_rule": found.rule,
        "faults": found.faults,
        "done": len(counts),
        "images": found.images,
        "trials": trials,
        "complete": found.complete,
        "labels": found.about["labels"],
        "matched": found.about["matched"],
        "outcomes": {name: sum(getattr(c, name) for c in counts) for name in _COLUMNS}
        | {"non_finite": trials - found.finite},
        "bits": list(_bits(found)),
        "golden": dict(zip(("images", "top1", "top5"), golden, strict=True)) if golden else None,
        "published": _published(found),
        "image_inferences": found.cost.image_inferences,
        "equivalent_inferences": found.cost.equivalent_inferences,
        "seconds": found.cost.seconds,
        "provider": found.identity["provider"],
        "arithmetic": found.identity["arithmetic"],
        "warnings": found.about["warnings"],
    }


def _bits(found: Replayed) -> Iterator[dict[str, int]]:
    rows: dict[int, list[Counts]] = {}
    for entry in found.listed.entries:
        rows.setdefault(entry.bit, []).append(_counts(entry))
    for bit, counts in sorted(rows.items(), reverse=True):
        told = {"bit": bit, "faults": len(counts), "trials": sum(count.injections for count in counts)}
        yield told | {name: sum(getattr(count, name) for count in counts) for name in _COLUMNS}


def _published(found: Replayed) -> dict[str, Any] | None:
    both = [(_counts(own).critical, _counts(said).critical) for own, said in pairs(found)]
    if not both:
        return None
    notable = [(own, said) for own, said in both if said >= NOTABLE * found.images]
    apart = [abs(own - said) for own, said in notable]
    return {
        "faults": len(both),
        "differences": {str(d): n for d, n in sorted(Counter(own - said for own, said in both).items())},
        "notable": {
            "faults": len(notable),
            "equal": sum(d == 0 for d in apart),
            "within_1": sum(d <= 1 for d in apart),
            "within_2": sum(d <= 2 for d in apart),
            "own": sum(own for own, _ in notable),
            "published": sum(said for _, said in notable),
        },
    }


def _comparison(both: list[tuple[Entry, Entry]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    fault = ("Injection", "Layer", "TensorIndex", "Bit", "images")
    writer.writerow([*fault, *_COLUMNS, *(f"published_{name}" for name in _COLUMNS)])
    for own, said in both:
        shown = [getattr(_counts(entry), name) for entry in (own, said) for name in _COLUMNS]
        writer.writerow([own.injection, own.layer, str(own.index), own.bit, _counts(own).images, *shown])
    return text.getvalue()


def _counts(entry: Entry) -> Counts:
    assert entry.counts is not None  # a replay holds rows with counts only
    return entry.counts


def blocks(found: Replayed) -> Iterator[RenderableType]:
    """Every block of what a person reads, in order."""
    told = facts(found)
    yield _title(told)
    for warning in told["warnings"]:
        yield Text.assemble(("WARNING ", "bold red"), (plain(warning), "bold"))
    yield _outcomes(told)
    if told["published"]:
        yield _agreement(told["published"])
    yield _cost(told)


def _title(told: dict[str, Any]) -> RenderableType:
    how = Counter(row["how"] for row in told["matched"])
    layers = f"{len(told['matched'])} layers found " + ", ".join(
        _HOW[way] if len(how) == 1 else f"{number} {_HOW[way]}" for way, number in how.items()
    )
    lines = [f"{plain(told['list'])} on {plain(told['model'])}", f"{layers}; indices as {told['form']} has them"]
    if told["golden"]:
        golden = told["golden"]
        shares = [f"top-{k} {100 * golden[f'top{k}'] / golden['images']:.2f} %" for k in (1, 5)]
        lines.append(f"fault-free: {', '.join(shares)} of {golden['images']:,} images")
    text = Text("\n".join(lines))
    text.stylize("bold", 0, len(lines[0]))
    return text


def _outcomes(told: dict[str, Any]) -> RenderableType:
    made = table("bit", "faults", "masked", "non-critical", "critical", "critical, %")
    for row in told["bits"]:
        made.add_row(str(row["bit"]), f"{row['faults']:,}", *_row(row))
    total = {**told["outcomes"], "trials": told["trials"]}
    made.add_row("all", f"{told['done']:,}", *_row(total), style="bold")
    images = f"{told['images']:,} image" + "s" * (told["images"] != 1)
    return titled(f"Trials of this list, each fault on {images} (rule: {told['nan_rule']})", made)


def _row(row: dict[str, int]) -> list[str]:
    share = f"{100 * row['critical'] / row['trials']:.3f}" if row["trials"] else "-"
    return [*(f"{row[name]:,}" for name in _COLUMNS), share]


def _agreement(published: dict[str, Any]) -> RenderableType:
    made = table("own less published", "faults")
    for apart, faults in published["differences"].items():
        made.add_row(f"{int(apart):+d}" if int(apart) else "0", f"{faults:,}")
    notable = published["notable"]
    made.add_section()
    made.add_row(f"of {notable['faults']:,} published as critical on 1 % or more", "")
    for label, name in (("  equal", "equal"), ("  within 1 image", "within_1"), ("  within 2", "within_2")):
        made.add_row(label, f"{notable[name]:,}")
    made.add_row("  their critical images, own", f"{notable['own']:,}")
    made.add_row("  published", f"{notable['published']:,}")
    return titled("Critical images of each fault against the list's own results", made)


def _cost(told: dict[str, Any]) -> RenderableType:
    state = "complete" if told["complete"] else f"NOT complete: {told['done']:,} of {told['faults']:,} faults"
    rate = told["trials"] / told["seconds"] if told["seconds"] else 0
    lines = [
        f"\n{told['trials']:,} trials in {told['seconds']:.1f} s, {rate:,.0f} a second, {told['arithmetic']} "
        f"on {told['provider']}; {told['outcomes']['non_finite']:,} non-finite",
        f"{told['image_inferences']:,} image inferences, worth {told['equivalent_inferences']:,.0f} whole ones",
        state,
    ]
    return Text("\n".join(lines), overflow="fold")
