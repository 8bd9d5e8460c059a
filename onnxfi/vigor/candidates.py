"""Candidates: the values that real bit flips make of a word, as keys in the order of values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.vigor.order import Order

Array = NDArray[Any]


def flips(order: Order, values: Array, bits: Sequence[int]) -> Array:
    """Keys (*shape, B) of `values` (any shape) with each of `bits` flipped; zeros flip as what they are."""
    return order.keys(flipped(order, values, bits))


def flipped(order: Order, values: Array, bits: Sequence[int]) -> Array:
    """`values` (any shape) with each of `bits` flipped: (*shape, B)."""
    words = order.word.words(np.ascontiguousarray(values))
    masks = np.array([1 << bit for bit in bits], words.dtype)
    return order.word.values(words[..., None] ^ masks)


def operand_flips(order: Order, x: Array, w: Array, output: Array, bits: Sequence[int]) -> Array:
    """Keys (P, K, B) of an output word with one of its K operands wrong by one bit, the fault kind mac.

    x, w (P, K): operands and their weights; output (P,): fault-free words. The word becomes output + delta with
    delta = (flip(x) - x) * w in the op's own float type (Eq. 5 of DeepVigor+, its Algorithm 1).
    """
    with np.errstate(all="ignore"):
        delta = (flipped(order, x, bits) - x[..., None]) * w[..., None]
        return order.keys(output[:, None, None] + delta)
