"""Trials that are critical in one of two networks only, with what both made of them, for people."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxfi.parity.paired import Paired
from onnxfi.parity.twins import Twins
from onnxfi.study.targets import Targets

OUTCOMES = ("masked", "non-critical", "critical")


def disagreements(paired: Paired, targets: Targets, twins: Twins | None) -> list[dict[str, Any]]:
    """Every trial that is critical in one network only, for people."""
    names = {layer.index: layer.id for layer in targets.layers}
    twin = {pair.a.layer.id: pair.b.layer.id for pair in twins.matching.pairs} if twins else {}
    shapes = _shapes(targets, twins)
    clean = None if twins is None else [_margins(twins.clean.logits_a), _margins(twins.clean.logits_b)]
    rows = []
    for row in paired.disagreements:
        region = targets.space.regions[row["region"]]
        shape, image = shapes.get(region.tensor, (region.elements,)), int(row["image"])
        layer = names.get(region.layer, region.tensor)
        rows.append(
            {
                "layer_a": layer,
                "layer_b": twin.get(layer),
                "target": region.target,
                "index": [int(i) for i in np.unravel_index(int(row["site"]), shape)],
                "bit": int(row["bit"]),
                "image": image,
                **{f"outcome_{side}": OUTCOMES[row[f"outcome_{side}"]] for side in "ab"},
                **{f"top1_{side}": int(row[f"top1_{side}"]) for side in "ab"},
                **{f"margin_{side}": finite(row[f"margin_{side}"]) for side in "ab"},
                **{f"clean_{side}": None if clean is None else float(clean["ab".index(side)][image]) for side in "ab"},
            }
        )
    return rows


def _shapes(targets: Targets, twins: Twins | None) -> dict[str, tuple[int, ...]]:
    if twins is None:
        return {}
    shapes = {pair.a.stored.tensor: pair.a.stored.shape for pair in twins.matching.pairs}
    for region in targets.space.regions:
        if region.target == "activations" and twins.a.has_rows(region.tensor):
            shapes[region.tensor] = twins.a.probe.rows(region.tensor).shape
    return shapes


def _margins(logits: Any) -> Any:
    """The best logit less the second best, of each image."""
    first = np.sort(logits.astype(np.float64), axis=1)[:, -2:]
    return first[:, -1] - first[:, 0]


def finite(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
