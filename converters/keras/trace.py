"""From a Keras model to what tf2onnx makes of it, with stand-ins in place of the weights.

Tensors of two and more axes are inputs of the graph meanwhile: what tf2onnx cannot see it cannot copy a dozen times
(a network of 90 MB would need 6 GB). How it turns them is left in the graph as nodes, which are then carried out.
Biases and the vectors of BatchNormalization are constants, so that a bias is found to be its convolution's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from converters.keras.framework import keras, tf, tf2onnx
from converters.keras.patches import Scopes, recorded, uncompiled
from converters.keras.stand_ins import Array
from onnxfi.errors import ModelError

INPUT, OUTPUT = "input", "logits"
TURNS = ("Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze")


@dataclass(frozen=True)
class Traced:
    """`model` as tf2onnx wrote it, `scopes` of its layers, and the names of the variables that the network reads."""

    model: onnx.ModelProto
    scopes: Scopes
    read: frozenset[str]


def trace(
    model: Any, variables: Mapping[str, Any], values: Mapping[str, Array], shape: tuple[int, ...], opset: int
) -> Traced:
    """Converts a `keras.Model` for float32 images (N, *shape) with `values` in place of the `variables` of those names.

    Raises ModelError if TensorFlow or tf2onnx cannot.
    """
    matrices = [path for path, value in values.items() if value.ndim > 1]
    tensors: dict[str, Any] = {}

    def logits(images: Any, *given: Any) -> Any:
        tensors.update(zip(matrices, given, strict=True))
        tensors.update((path, tf.constant(value)) for path, value in values.items() if value.ndim < 2)
        with keras.StatelessScope([(variables[path], tensor) for path, tensor in tensors.items()]):
            return tf.identity(one_tensor(model(images, training=False)), OUTPUT)

    inputs = {f"w{n}": values[path] for n, path in enumerate(matrices)}
    signature = [tf.TensorSpec((None, *shape), tf.float32, name=INPUT)]
    signature += [tf.TensorSpec(value.shape, value.dtype, name=name) for name, value in inputs.items()]
    proto, scopes, outputs = _convert(logits, signature, opset)
    _carry_out(proto.graph, inputs)
    reached = _reached(outputs)
    return Traced(proto, scopes, frozenset(path for path, tensor in tensors.items() if tensor.op in reached))


def plain(model: Any, shape: tuple[int, ...], opset: int) -> Traced:
    """The conversion as it is, with the model's own weights."""

    def logits(images: Any) -> Any:
        return tf.identity(one_tensor(model(images, training=False)), OUTPUT)

    proto, scopes, _ = _convert(logits, [tf.TensorSpec((None, *shape), tf.float32, name=INPUT)], opset)
    return Traced(proto, scopes, frozenset())


def one_tensor(answer: Any) -> Any:
    """The network's answer; ModelError unless it is one tensor."""
    if isinstance(answer, (list, tuple)) and len(answer) == 1:
        answer = answer[0]
    if not tf.is_tensor(answer):
        raise ModelError(f"the network returns a {type(answer).__name__}; it has to return one tensor of logits")
    return answer


def _convert(logits: Any, signature: list[Any], opset: int) -> tuple[onnx.ModelProto, Scopes, list[Any]]:
    function = tf.function(logits, input_signature=signature, autograph=False)
    try:
        with recorded() as scopes, uncompiled():
            graph = function.get_concrete_function().graph
        with contextlib.redirect_stdout(None):
            proto, _ = tf2onnx.convert.from_function(function, signature, opset=opset)
    except ModelError:
        raise
    except Exception as problem:
        reason = next((line for line in str(problem).splitlines() if line.strip()), type(problem).__name__)
        raise ModelError(f"this network cannot be exported to ONNX: {reason}") from problem
    # tf2onnx takes tensors that a layer holds, such as the mean of a Normalization, for inputs of the network.
    _carry_out(proto.graph, {inside.name: held.numpy() for held, inside in graph.captures if held.dtype != tf.resource})
    left = {node.op_type for node in proto.graph.node if not onnx.defs.has(node.op_type, opset, node.domain)}
    if left:
        names = ", ".join(sorted(left))
        raise ModelError(f"this network cannot be exported to ONNX: tf2onnx does not translate {names}")
    return proto, scopes, graph.outputs


def _reached(outputs: list[Any]) -> set[Any]:
    """The TensorFlow operations on which the outputs depend."""
    seen: set[Any] = set()
    waiting = [tensor.op for tensor in outputs]
    while waiting:
        operation = waiting.pop()
        if operation not in seen:
            seen.add(operation)
            waiting += [tensor.op for tensor in operation.inputs]
    return seen


def _carry_out(graph: onnx.GraphProto, given: Mapping[str, Array]) -> None:
    """Makes the inputs called in `given` initializers, turned by the nodes that turn nothing else."""
    known = {tensor.name: tensor for tensor in graph.initializer}
    arrays = dict(given)
    for node in list(graph.node):
        sources = [name for name in node.input if name]
        if node.op_type not in TURNS or sources[0] not in arrays or not all(n in arrays or n in known for n in sources):
            continue
        feed = {name: arrays[name] if name in arrays else numpy_helper.to_array(known[name]) for name in sources}
        (turned,) = ReferenceEvaluator(node).run(None, feed)
        arrays[node.output[0]] = np.asarray(turned)
        graph.node.remove(node)
    read = {name for node in graph.node for name in node.input}
    graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items() if name in read)
    for value in [value for value in graph.input if value.name in given]:
        graph.input.remove(value)
