"""Keras on TensorFlow and tf2onnx, imported and run without their chatter on the terminal.

TensorFlow writes to the file descriptor from C++, whatever the log level, so the descriptor itself is turned away for
the while. Nothing is lost with it: what goes wrong comes as an exception.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator

from onnxfi.errors import ModelError

__all__ = ["keras", "quiet", "tf", "tf2onnx"]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps standard error, the log and warnings about code that is not the user's off the terminal."""
    before = logging.root.manager.disable
    with contextlib.ExitStack() as stack:
        stack.callback(logging.disable, before)
        logging.disable(logging.CRITICAL)
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        sys.stderr.flush()
        kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        stack.callback(os.close, kept)
        stack.callback(os.dup2, kept, 2)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        yield


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"  # Keras reads it once, when it is imported; tf2onnx sees TensorFlow only
with quiet():
    import keras
    import tensorflow as tf
    import tf2onnx
    import tf2onnx.convert

if keras.backend.backend() != "tensorflow":
    raise ModelError(f"Keras already runs on {keras.backend.backend()} in this process; the converter needs TensorFlow")
