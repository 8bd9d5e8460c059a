"""What Keras, TensorFlow and tf2onnx do to a graph on its way to ONNX, undone while a graph is exported.

Some functions are replaced, in context managers that put them back:

- Keras computes BatchNormalization by arithmetic, of which nothing is left after constant folding. Here it is one
  fused operation, which becomes ONNX's BatchNormalization with its four parameters.
- tf2onnx folds that into the convolution before it.
- Keras has grouped convolutions compiled by XLA, into which tf2onnx does not look.
- Keras opens a name scope a layer, and TensorFlow appends numbers that depend on what was built before. Here each
  scope is written down with the layers' own names.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from converters.keras.framework import keras, tf
from onnxfi.errors import ModelError

FUSED_RANKS = (4, 5)  # of TensorFlow's fused BatchNormalization: images and volumes, channels last

Scopes = dict[str, str]
"""{TensorFlow's name scope, `net_1/conv_2/`: the layers' own names in it, `net/conv`}"""


@contextlib.contextmanager
def recorded() -> Iterator[Scopes]:
    """Fills the dictionary while a model is traced."""
    scopes: Scopes = {}
    try:
        from keras.src.backend.tensorflow.core import name_scope
    except ImportError as problem:
        raise _other_version() from problem
    enter = name_scope.__enter__

    def remember(scope: Any) -> Any:
        entered = enter(scope)
        full = tf.compat.v1.get_default_graph().get_name_scope()
        parent, _, _ = full.rpartition("/")
        scopes[full + "/"] = f"{scopes.get(parent + '/', '')}/{scope.name}".strip("/")
        return entered

    with mock.patch.object(name_scope, "__enter__", remember):
        yield scopes


@contextlib.contextmanager
def uncompiled() -> Iterator[None]:
    """What Keras would have XLA compile while a model is traced, its grouped convolutions, stays as it is."""
    function = tf.function

    def plain(*arguments: Any, **options: Any) -> Any:
        return (lambda body: body) if options.get("jit_compile") else function(*arguments, **options)

    with mock.patch.object(tf, "function", plain):
        yield


@contextlib.contextmanager
def unfolded() -> Iterator[None]:
    """BatchNormalization stays one node with its own parameters."""
    try:
        from keras.src.backend import nn as one
        from keras.src.backend.tensorflow import nn as other
        from tf2onnx.optimizer.back_to_back_optimizer import _func_map as pairs

        original = other.batch_normalization
        merge = pairs["Conv", "BatchNormalization"]
    except (ImportError, AttributeError, KeyError) as problem:
        raise _other_version() from problem
    fused = _fused(original)
    with (
        mock.patch.object(one, "batch_normalization", fused),
        mock.patch.object(other, "batch_normalization", fused),
    ):
        del pairs["Conv", "BatchNormalization"]
        try:
            yield
        finally:
            pairs["Conv", "BatchNormalization"] = merge


def _fused(original: Callable[..., Any]) -> Callable[..., Any]:
    def batch_normalization(
        x: Any, mean: Any, variance: Any, axis: int, offset: Any = None, scale: Any = None, epsilon: float = 1e-3
    ) -> Any:
        """Keras's function of that name: over the last axis fused, over any other as it is."""
        rank = len(x.shape)
        if axis not in (-1, rank - 1) or x.dtype != tf.float32:
            return original(x, mean, variance, axis, offset, scale, epsilon)
        shape = tf.shape(x)
        y = x if rank in FUSED_RANKS else tf.reshape(x, [-1, 1, 1, x.shape[-1]])
        # The raw operation: TensorFlow's Python function raises an epsilon of 1e-5 to 1.001e-5.
        y = tf.raw_ops.FusedBatchNormV3(
            x=y, scale=tf.ones_like(mean) if scale is None else scale,
            offset=tf.zeros_like(mean) if offset is None else offset, mean=mean, variance=variance, epsilon=epsilon,
            data_format="NDHWC" if rank == 5 else "NHWC", is_training=False,
        ).y  # fmt: skip
        return y if rank in FUSED_RANKS else tf.reshape(y, shape)

    return batch_normalization


def _other_version() -> ModelError:
    return ModelError(
        f"Keras {keras.__version__} or tf2onnx is built in another way than those known here (3.15 and 1.17): install "
        "these, or take --folded"
    )
