"""What a DeepVigor run left in its folder, read back for pages: its object, rates, and the ranges of each layer."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from onnxfi.errors import StudyError
from onnxfi.metrics.estimate import Estimate
from onnxfi.report.summary import BitRate, LayerRates
from onnxfi.study.channels import ChannelRate
from onnxfi.study.place import STUDY

PLUS, CLASSES = "vigor.json", "deepvigor.json"
ROOM = "vigor"
"""Where a study's folder keeps a DeepVigor run: some of its files are called as the study's own."""
_TORN = (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, EOFError, zipfile.BadZipFile)


@dataclass(frozen=True)
class Span:
    """Ranges of a layer's words: deviations within (low, high) change no answer.

    sites     looked at; by DeepVigor neurons
    nearest   (low, high) of all sites, images and classes together; infinite where no deviation was ever critical
    median    (low, high) of the middle one of those that have a bound; infinite where none has
    unbounded share of them that have none on the low side, and on the high side
    """

    layer: str
    target: str
    sites: int
    nearest: tuple[float, float]
    median: tuple[float, float]
    unbounded: tuple[float, float]


@dataclass(frozen=True)
class VigorRun:
    """`found`: the object of its JSON file, as onnxfi.report.vigor or onnxfi.report.deepvigor tell. DeepVigor by class
    has no rates: then `layers`, `bits` and `channels` are empty."""

    folder: Path
    found: Mapping[str, Any]
    layers: tuple[LayerRates, ...]
    bits: tuple[BitRate, ...]
    channels: tuple[ChannelRate, ...]
    spans: tuple[Span, ...]

    @property
    def by_class(self) -> bool:
        """Whether it is DeepVigor, ranges by golden class; else DeepVigor+."""
        return str(self.found["method"]) == "deepvigor"

    @property
    def targets(self) -> list[str]:
        return ["activations"] if self.by_class else [row["target"] for row in self.found["search"]]

    def rate(self, *path: str) -> Estimate | None:
        """A rate of the object, such as `rate("mvf", "total")`."""
        values: Any = self.found
        for name in path:
            values = values[name]
        return rate_of(values)


def rate_of(values: Mapping[str, Any] | None) -> Estimate | None:
    """A rate from its JSON object."""
    if values is None:
        return None
    return Estimate(**{name: values[name] for name in ("value", "low", "high", "trials", "population")})


def home(folder: Path) -> Path:
    """Where a DeepVigor run into `folder` goes: a room of its own where a study lives there."""
    return folder / ROOM if holds_study(folder) else folder


def holds_study(folder: Path) -> bool:
    """Whether a study lives in `folder`."""
    return (folder / STUDY).is_file()


def read_vigor(folder: Path) -> VigorRun | None:
    """The run in `folder`; None where there is none. Raises StudyError for files that are torn."""
    for name, read in ((PLUS, _read_plus), (CLASSES, _read_classes)):
        if (folder / name).is_file():
            try:
                return read(folder, json.loads((folder / name).read_text(encoding="utf-8")))
            except _TORN as error:
                raise StudyError(f"{folder} holds a torn DeepVigor run ({error}); run `onnxfi vigor` again.") from error
    return None


def _read_plus(folder: Path, found: dict[str, Any]) -> VigorRun:
    layers = tuple(
        LayerRates(row["layer"], row["op"], rate_of(row["weights"]), rate_of(row["activations"]), rate_of(row["total"]))
        for row in found["layers"]
    )
    bits = tuple(_bit(row) for row in found["bits"])
    table = pd.read_csv(folder / "channels.csv", keep_default_na=False, dtype={"layer": str})
    fields = ["target", "layer", "channel", "trials", "value", "low", "high"]
    channels = tuple(ChannelRate(*row) for row in zip(*(table[field].tolist() for field in fields), strict=True))
    return VigorRun(folder, found, layers, bits, channels, tuple(_plus_spans(folder)))


def _bit(row: Mapping[str, Any]) -> BitRate:
    rate = rate_of(row)
    assert rate is not None
    return BitRate(row["target"], row["dtype"], (row["bit"],), rate)


def _plus_spans(folder: Path) -> Iterator[Span]:
    regions = pd.read_csv(folder / "regions.csv", keep_default_na=False, dtype={"layer": str})
    with np.load(folder / "ranges.npz", allow_pickle=False) as arrays:
        for (target, layer), rows in regions.groupby(["target", "layer"], sort=False):
            lower, upper = (
                np.concatenate([arrays[f"{side}_{n}"].ravel() for n in rows["number"]]).astype(np.float64)
                for side in ("lower", "upper")
            )
            sites = sum(len(arrays[f"site_{n}"]) for n in rows["number"])
            yield _span(str(layer), str(target), sites, lower, upper)


def _read_classes(folder: Path, found: dict[str, Any]) -> VigorRun:
    table = pd.read_csv(folder / "neurons.csv", keep_default_na=False, dtype={"layer": str})
    spans = []
    for layer, rows in table.groupby("layer", sort=False):
        lower, upper = (rows[side].to_numpy(np.float64) for side in ("safe_low", "safe_high"))
        spans.append(_span(str(layer), "activations", rows["neuron"].nunique(), lower, upper))
    return VigorRun(folder, found, (), (), (), tuple(spans))


def _span(layer: str, target: str, sites: int, lower: NDArray[np.float64], upper: NDArray[np.float64]) -> Span:
    return Span(
        layer,
        target,
        sites,
        (float(lower.max()), float(upper.min())),
        (_middle(lower, -np.inf), _middle(upper, np.inf)),
        (float(np.isinf(lower).mean()), float(np.isinf(upper).mean())),
    )


def _middle(bounds: NDArray[np.float64], none: float) -> float:
    known = bounds[np.isfinite(bounds)]
    return float(np.median(known)) if known.size else none


def shown_limits(limits: Iterable[float]) -> str:
    """'−0.618 to 0.128'; an infinity for a side without a bound."""
    return " to ".join(f"{limit:.3g}".replace("inf", "∞").replace("-", "−").replace("e+", "e") for limit in limits)
