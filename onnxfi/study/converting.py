"""A fault list of one network said in another framework's words: the same faults, other names and indices."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from onnxfi.errors import FaultError
from onnxfi.faults.forms import Form
from onnxfi.faults.listing import Entry, FaultList
from onnxfi.graph.network import Network
from onnxfi.study.list_settings import Meet
from onnxfi.study.listed import list_name, settle_form, twins, weights
from onnxfi.study.names import read_match
from onnxfi.study.replay import locate

_KERAS = re.compile(r"((separable_|depthwise_)?conv[123]d(_transpose)?|dense)(_\d+)?")


def by_names(listed: FaultList, to: Form, match: Path | None = None) -> FaultList:
    """The list in the form `to`, its layers renamed by a match file; without one they keep their names.

    Indices turn as axes do: (o, i, h, w) is (h, w, i, o), and (o, i) is (i, o). With `to` 'auto' the names tell where
    the list comes from: the column of the match file that they stand in, or how Keras names layers.
    Raises FaultError: a layer without a partner, or an index that does not turn.
    """
    names = listed.layers
    columns = read_match(match) if match else None
    if to == "auto":
        keras = set(names) <= set(columns[1]) if columns else all(_KERAS.fullmatch(name) for name in names)
        to = "pytorch" if keras else "keras"
    partners: Mapping[str, str] = {name: name for name in names}
    if columns:
        partners = columns[0] if to == "keras" else columns[1]
    if missing := next((name for name in names if name not in partners), None):
        raise FaultError(f"{match} does not name layer {missing!r}; add its pair.")
    entries = (
        replace(entry, layer=partners[entry.layer], index=_turned(listed.source, entry, to)) for entry in listed.entries
    )
    return replace(listed, entries=tuple(entries))


def _turned(source: str, entry: Entry, to: Form) -> tuple[int, ...]:
    index = entry.index
    if len(index) < 2:
        raise FaultError(f"{source}: {entry} has an index of one number; weights have two and more.")
    if to == "keras":
        return (*index[2:], index[1], index[0])
    if "depthwise" in entry.layer:
        raise FaultError(
            f"{source}: layer {entry.layer!r} is a DepthwiseConv2D, whose index turns only with its multiplier; give "
            "the two models, --from and --to-model."
        )
    return (index[-1], index[-2], *index[:-2])


def by_models(listed: FaultList, model: Path | str, other: Path | str, to: Form, meet: Meet) -> FaultList:
    """The list of `model`'s faults as one of `other`'s, whose weights hold the same numbers, in the form `to`.

    'auto': the form of the framework that `other` was converted from. Raises FaultError where a layer has no twin.
    """
    here, there = (Network.load(path, unshare=True) for path in (model, other))
    found = {name: weight for name, (weight, _) in locate(listed, here, meet).items()}
    form = settle_form(meet.form, listed, found, here)
    if to == "auto":
        to = "keras" if there.metadata.get("onnxfi.framework") == "keras" else "pytorch"
    other_weights = twins(found, here, there)
    if missing := next((name for name in listed.layers if name not in other_weights), None):
        raise FaultError(
            f"{there.path.name} holds no weight with the numbers that layer {missing!r} has in {here.path.name}: the "
            "two are not of one training, or BatchNormalization is folded into one of them."
        )
    entries = list(listed.entries)
    for name, weight in found.items():
        mine = [place for place, entry in enumerate(entries) if entry.layer == name]
        index = np.array([entries[place].index for place in mine])
        layout = weight.view(form, name, map(tuple, index.tolist()))
        if not layout.holds(index).all():
            raise FaultError(f"{listed.source}: an index of layer {name!r} is outside of its shape {layout.shape}.")
        twin = other_weights[name]
        called = list_name(there, twin)
        sites = twin.layout.sites(weight.layout.indices(layout.sites(index)))  # both have PyTorch's view of a word
        for place, moved in zip(mine, twin.view(to, called).indices(sites).tolist(), strict=True):
            entries[place] = replace(entries[place], layer=called, index=tuple(moved))
    covered = {entry.layer for entry in entries}
    names = [list_name(there, weight) for weight in weights(there)]
    return replace(listed, entries=tuple(entries), uncovered=tuple(name for name in names if name not in covered))
