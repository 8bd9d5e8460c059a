"""What a trial changes: stored words in, faulty words out, and the patch that they make at the cut."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from onnxfi.engine.golden import Golden
from onnxfi.engine.head import Channels, Head
from onnxfi.engine.operands import Operands
from onnxfi.engine.tail import Patch, equal_words
from onnxfi.faults.bits import Word
from onnxfi.graph.layers import Parameter

Array = np.ndarray[Any, Any]


def changed(values: Array, trials: Array) -> Array:
    """`values` (T,), one word a trial, with each trial's `keep` and `toggle` applied to it."""
    word = Word(values.dtype.name)
    words = word.words(np.ascontiguousarray(values))
    keep, toggle = trials["keep"].astype(words.dtype), trials["toggle"].astype(words.dtype)
    return word.values((words & keep) ^ toggle)


def faulty_words(golden: Array, trials: Array) -> tuple[Array, Array]:
    """The place of each trial's word in its row, and the word after the change; `golden`: rows (images, *row)."""
    site = trials["site"].astype(np.int64)
    stored = golden.reshape(len(golden), -1)[trials["image"].astype(np.int64), site]
    return site, changed(stored, trials)


def word_patch(golden: Array, trials: Array, after: Array, site: Array) -> tuple[Patch, Array]:
    """Words `after` (T,) at `site` (T,) of the tensor of rows `golden`; also which (bool (T,)) change nothing."""
    before = golden.reshape(len(golden), -1)[trials["image"].astype(np.int64), site]
    return Patch(after[:, None], where=site[:, None]), equal_words(after, before)


def op_patch(head: Head, golden: Golden, trials: Array, after: Array, site: Array) -> tuple[Patch, Array]:
    """Words `after` (T,) that the op writes at `site` (T,) of its output's row, followed through the chain."""
    image = trials["image"].astype(np.int64)
    row = golden[head.chain.start].shape[1:]
    channel = np.unravel_index(site, row)[head.axis]
    end = head.follow_elements(image, channel, site, after)
    before = golden[head.chain.end].reshape(len(golden[head.chain.end]), -1)[image, site]
    return Patch(end[:, None], where=site[:, None]), equal_words(end, before)


def filter_patch(head: Head, parameter: Parameter, trials: Array) -> tuple[Patch, Array]:
    """A layer's parameter changed: the channel that it makes, at the end of the chain."""
    image, site = trials["image"].astype(np.int64), trials["site"].astype(np.int64)
    channels = _faulty_channels(head, parameter, image, site, trials)
    after = head.run(channels)
    before = head.golden_channels(head.chain.end, image, channels.channel)
    return head.patch(after, channels.channel), equal_words(after, before)


def _faulty_channels(head: Head, parameter: Parameter, image: Array, site: Array, trials: Array) -> Channels:
    if parameter.tensor in head.parameters:
        channels = head.fault_free(image, site)
        wrong = changed(channels.parameters[parameter.tensor], trials)
        return replace(channels, parameters={**channels.parameters, parameter.tensor: wrong})
    path = head.weight_path if parameter.slot == 1 else head.bias_path
    assert path is not None
    index, value = path.follow(site, changed(path.stored.reshape(-1)[site], trials))
    if parameter.slot == 2:
        return replace(head.fault_free(image, index), bias=value)
    channel, within = head.locate(index)
    channels = head.fault_free(image, channel)
    filters = channels.filters.reshape(len(image), -1).copy()
    filters[np.arange(len(image)), within] = value
    return replace(channels, filters=filters.reshape(channels.filters.shape))


def mac_words(operands: Operands, output: Array, trials: Array) -> tuple[Array, Array]:
    """Fault kind mac: the place of the output word in its row, and that word after one wrong operand of its sum.

    delta = (flip(x) - x) * w in the op's own float type (DeepVigor+, its Eq. 5), added to the word that the op wrote.
    `output`: golden rows (images, *row) of the op's output.
    """
    image = trials["image"].astype(np.int64)
    neuron, operand = np.divmod(trials["site"].astype(np.int64), operands.count)
    x, w = operands.read(image, neuron, operand)
    before = output.reshape(len(output), -1)[image, neuron]
    with np.errstate(all="ignore"):
        delta = (changed(x, trials) - x) * w
        return neuron, np.asarray(before + delta)
