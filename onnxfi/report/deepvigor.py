"""What a DeepVigor analysis found: the object of deepvigor.json, the files of its folder, and its tables.

deepvigor.json, which `onnxfi vigor --method deepvigor --json` prints:

    format, method, model, model_sha256, activation, sampling   as in vigor.json; method is "deepvigor"
    images     {seen, unseen}: ranges are found on the seen ones
    layers     [{layer, neurons, tried, lvf, accuracy_loss, seen, unseen}]: lvf is the share of neurons, bits and seen
               images for which the flip deviates beyond the neuron's range for the image; accuracy_loss what the
               injected faults take from the accuracy, null without labels; the last two, and `whole` for all
               layers together, being {faults, critical, non_vulnerable, semi_vulnerable, vulnerable,
               true_non_critical, true_critical, precision, recall}: of the faults injected, the share that is
               critical; shares by category; of the non-vulnerable the share that is not critical, of the vulnerable
               the share that is (Tables I and II); of those called vulnerable the share critical (precision, the same
               number) and of the critical ones the share called vulnerable (recall); null where there is none
    correlation  {layers, pearson, rank}, of lvf with accuracy_loss over the layers (Fig. 5); null where there is none
    image_inferences, equivalent_inferences, seconds, provider, warnings

neurons.csv   layer, neuron, nvf, class, low, safe_low, safe_high, high: by golden class, deviations of the neuron's
              output within [safe_low, safe_high] are safe for every seen image, those at most low or at least high
              critical for every one; in each layer the neurons of the highest NVF first (Fig. 6)
bits.csv      layer, bit, value: BVF
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import RenderableType
from rich.text import Text

from onnxfi.report.tables import plain, table, titled
from onnxfi.report.vigor import to_json
from onnxfi.study import place
from onnxfi.vigor.deepvigor import Ranges, correlation


def facts(found: Ranges) -> dict[str, Any]:
    """The object that the module's docstring tells of, in plain JSON values."""
    sampling = found.question.sampling
    layers = [
        {
            "layer": layer.id,
            "neurons": len(layer.site),
            "tried": layer.tried,
            "lvf": layer.lvf,
            "accuracy_loss": layer.loss,
            "seen": _rates(layer.counts[0]),
            "unseen": _rates(layer.counts[1]),
        }
        for layer in found.layers
    ]
    together = correlation(found)
    counts = np.sum([layer.counts for layer in found.layers], axis=0)
    return {
        "format": 1,
        "method": "deepvigor",
        "model": found.assembly.about["model"],
        "model_sha256": found.assembly.network.sha256,
        "activation": "output",
        "sampling": asdict(sampling),
        "images": {"seen": int(found.seen.sum()), "unseen": int((~found.seen).sum())},
        "layers": layers,
        "whole": {"seen": _rates(counts[0]), "unseen": _rates(counts[1])},
        "correlation": asdict(together) if together else None,
        "image_inferences": found.cost.image_inferences,
        "equivalent_inferences": found.cost.equivalent_inferences,
        "seconds": found.seconds,
        "provider": found.assembly.engine.provider,
        "warnings": list(found.assembly.about["warnings"]),
    }


def write(folder: Path, found: Ranges, told: dict[str, Any]) -> None:
    """Write deepvigor.json, neurons.csv and bits.csv. Raises StudyError for a full or read-only disk."""
    frames = []
    bits = [(layer.id, bit, rate) for layer in found.layers
            for bit, rate in zip(layer.bits, layer.rates.mean(axis=0).tolist(), strict=True)]  # fmt: skip
    for layer in found.layers:
        neurons, classes = layer.ranges.low.shape
        nvf = layer.rates.mean(axis=1)
        worst = np.argsort(-nvf, kind="stable")
        names = ("low", "safe_low", "safe_high", "high")
        columns = {name: getattr(layer.ranges, name)[worst].reshape(-1) for name in names}
        neuron, rate = np.repeat(layer.site[worst], classes), np.repeat(nvf[worst], classes)
        head = {"layer": layer.id, "neuron": neuron, "nvf": rate, "class": np.tile(range(classes), neurons)}
        frames.append(pd.DataFrame({**head, **columns}))
    with place.trouble(folder):
        folder.mkdir(parents=True, exist_ok=True)
        pd.concat(frames).to_csv(folder / "neurons.csv", index=False, lineterminator="\n")
        pd.DataFrame(bits, columns=["layer", "bit", "value"]).to_csv(
            folder / "bits.csv", index=False, lineterminator="\n"
        )
        (folder / "deepvigor.json").write_text(to_json(told), encoding="utf-8")


def blocks(told: dict[str, Any]) -> Iterator[RenderableType]:
    """Every block, in reading order."""
    images = told["images"]
    head = f"deepvigor: ranges of neurons on {images['seen']:,} images, faults on them and on {images['unseen']:,} more"
    text = Text(f"{plain(told['model'])}\n{head}")
    text.stylize("bold", 0, len(plain(told["model"])))
    yield text
    for warning in told["warnings"]:
        yield Text.assemble(("WARNING ", "bold red"), (plain(warning), "bold"))
    for part in ("seen", "unseen"):
        made = table("layer", "non-v.", "semi", "vuln.", "critical", "true non-c.", "true crit.", "recall")
        rows = [(plain(row["layer"]), row[part]) for row in told["layers"]] + [("all", told["whole"][part])]
        for name, rates in rows:
            names = ("non_vulnerable", "semi_vulnerable", "vulnerable", "critical", "true_non_critical")
            made.add_row(Text(name), *(_percent(rates[n]) for n in (*names, "true_critical", "recall")))
        yield titled(f"Faults by category, and how many are so in truth, % ({part} images)", made)
    yield _losses(told)
    yield Text(f"\n{told['image_inferences']:,} image inferences in {told['seconds']:.1f} s on {told['provider']}")


def _losses(told: dict[str, Any]) -> RenderableType:
    """LVF by ranges beside the accuracy that injected faults take (Fig. 5)."""
    made = table("layer", "LVF", "accuracy lost")
    for row in told["layers"]:
        made.add_row(Text(plain(row["layer"])), _percent(row["lvf"]), _percent(row["accuracy_loss"]))
    title, found = "LVF by ranges, and accuracy lost under injection, %", told["correlation"]
    if found and found["pearson"] is not None and found["rank"] is not None:
        title += f"\n(correlation over {found['layers']} layers {found['pearson']:.3f}, of ranks {found['rank']:.3f})"
    return titled(title, made)


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.3f}"


def _rates(counts: NDArray[np.int64]) -> dict[str, Any]:
    """counts (3, 2): by category; not critical, critical."""
    total, critical = int(counts.sum()), int(counts[:, 1].sum())

    def share(part: int, whole: int) -> float | None:
        return part / whole if whole else None

    safe, semi, vulnerable = (int(n) for n in counts.sum(axis=1))
    precision = share(int(counts[2, 1]), vulnerable)
    return {
        "faults": total,
        "critical": share(critical, total),
        "non_vulnerable": share(safe, total),
        "semi_vulnerable": share(semi, total),
        "vulnerable": share(vulnerable, total),
        "true_non_critical": share(int(counts[0, 0]), safe),
        "true_critical": precision,
        "precision": precision,
        "recall": share(int(counts[2, 1]), critical),
    }
