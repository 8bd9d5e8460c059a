"""A small Keras network with much that an export may get wrong, and what stands in its file.

Without the extra [keras], the tests of whoever imports this are skipped.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

if any(importlib.util.find_spec(name) is None for name in ("keras", "tensorflow", "tf2onnx")):
    pytest.skip("needs the extra [keras]", allow_module_level=True)

from converters.keras.framework import keras

SHAPE = (8, 8, 3)


def sample() -> Any:
    """Two equal BatchNormalizations, a bias of zeros, one layer read twice, a depthwise one of multiplier 2, a Dropout,
    BatchNormalization of a vector, and a Dense behind a Flatten: 5 + 2 * 4 + 4 + 2 variables that are read."""
    layers = keras.layers
    given = keras.Input(SHAPE)
    x = layers.Conv2D(4, 3, padding="same", name="first")(given)
    x = layers.BatchNormalization(epsilon=1e-5, name="norm_1")(x)
    twice = layers.Conv2D(4, 1, use_bias=False, name="twice")
    x = twice(layers.ReLU(name="relu")(twice(x)))
    x = layers.DepthwiseConv2D(3, 2, padding="same", depth_multiplier=2, name="depth")(x)
    x = layers.BatchNormalization(scale=False, name="norm_2")(layers.Dropout(0.5)(x))
    x = layers.BatchNormalization(name="norm_3")(layers.Flatten()(x))
    return keras.Model(given, layers.Dense(5, name="last")(x), name="sample")


def initializers(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def properties(model: onnx.ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}
