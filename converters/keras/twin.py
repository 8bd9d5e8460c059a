"""PyTorch's weights in the Keras network of the same architecture, copied name by name.

PyTorch                    Keras                           values
NAME.weight of Conv2d      NAME/kernel                     (o, i, h, w) -> (h, w, i, o)
... depthwise              NAME/kernel of DepthwiseConv2D  (c, 1, h, w) -> (h, w, c, 1)
NAME.weight of Linear      NAME/kernel                     (o, i) -> (i, o)
NAME.bias                  NAME/bias or NAME/beta          as they are
NAME.weight of BatchNorm   NAME/gamma                      as they are
NAME.running_mean, _var    NAME/moving_mean, _variance     as they are
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.keras.framework import keras, quiet
from onnxfi.errors import ModelError

ROLES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
UNUSED = "num_batches_tracked"  # PyTorch's count of training steps; no network reads it


def copy(state: Mapping[str, NDArray[Any]], model: Any) -> None:
    """Puts PyTorch's `state` into the `keras.Model` whose layers bear the same names.

    Raises ModelError unless each variable has its counterpart of the same shape, and none is left over.
    """
    left = {name for name in state if not name.endswith(UNUSED)}
    with quiet():
        for layer in model.layers:
            for variable in layer.weights:
                name = f"{layer.name}.{ROLES.get(variable.name, variable.name)}"
                if name not in state:
                    raise ModelError(f"the PyTorch weights have no {name}, which the Keras network stores")
                value = _turned(state[name], layer)
                if value.shape != tuple(variable.shape):
                    raise ModelError(
                        f"{name} is {value.shape} in Keras's order of axes, the network has {variable.shape}"
                    )
                variable.assign(value)
                left.discard(name)
    if left:
        raise ModelError(f"the Keras network stores no {', '.join(sorted(left))}, which the PyTorch weights have")


def _turned(value: NDArray[Any], layer: Any) -> NDArray[Any]:
    if value.ndim == 4:
        axes = (2, 3, 0, 1) if isinstance(layer, keras.layers.DepthwiseConv2D) else (2, 3, 1, 0)
        return np.ascontiguousarray(value.transpose(axes))
    return np.ascontiguousarray(value.T)
