"""From the model in the file to the one graph that everything else works on.

What ingest does, in this order: functions are inlined; initializers stop being inputs; Constant nodes become
initializers; a model that computes in float16 goes to the newest opset; nodes get unique names and are sorted; one
output is chosen and what it does not need is dropped; control flow, random and training-mode ops are refused; shape
arithmetic is folded. It never folds BatchNormalization and never changes a stored word. `finish`, when the layers are
found, makes NaN pass on and float16 round.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import onnx
import onnx.inliner
from onnx import ModelProto, TensorProto, TypeProto, ValueInfoProto

from onnxfi.errors import ModelError
from onnxfi.graph.barrier import add_barriers, needs_barriers
from onnxfi.graph.fold import fold, is_word
from onnxfi.graph.load import type_name
from onnxfi.graph.nan_safe import make_nan_safe
from onnxfi.graph.opset import loadable, opset_of, to_opset
from onnxfi.graph.tidy import (
    constants_to_initializers,
    drop_initializer_inputs,
    name_nodes,
    prune,
    set_output,
    sort_nodes,
    strip,
)
from onnxfi.graph.wiring import SAME_WORD, Wiring, attribute, walk_nodes

OLDEST_OPSET = 7
"""The oldest that ONNX Runtime promises to run."""

CONTROL_FLOW = frozenset({"If", "Loop", "Scan", "SequenceMap"})
RANDOM = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}
)
PICKS = frozenset({"ArgMax", "ArgMin", "TopK"})


@dataclass(frozen=True)
class Ingested:
    """The model in its one form, with what was learnt on the way."""

    model: ModelProto
    output: str
    types: dict[str, TypeProto]
    """Type and shape of each tensor that onnx's inference could tell."""
    generated: frozenset[str]
    """Node names that ingest made."""
    dropped: tuple[str, ...]
    """Initializers that the output does not need."""
    folded: frozenset[str]
    """Initializers that folding made: the file does not store them."""
    half: bool
    """Whether it computes in float16."""


def ingest(model: ModelProto, output: str | None) -> Ingested:
    """Bring `model` (used up by this) into the form that the rest of the tool works on, with one output.

    Raises ModelError: opset too old or too new, several outputs and none chosen, no such tensor, an output that is an
    index and not logits, control flow, random or training-mode ops, a graph that is not sound.
    """
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    _check_opset(model)
    model = loadable(model)
    declared = {v.name: v.type for v in model.graph.value_info}
    strip(model)
    drop_initializer_inputs(model)
    constants_to_initializers(model)
    half = needs_barriers(model)
    if half:
        model = to_opset(model)
        constants_to_initializers(model)
    generated = name_nodes(model)
    sort_nodes(model)
    chosen = choose_output(model, output)
    types = declared | infer(model)
    set_output(model, chosen, _info(chosen, types))
    dropped = tuple(t.name for t in prune(model) if is_word(t))
    refuse_nodes(model)
    folded = frozenset(fold(model, types))
    prune(model)
    types = declared | infer(model)
    _refuse_types(model, types)
    return Ingested(model, chosen, types, generated, dropped, folded, half)


def finish(done: Ingested) -> ModelProto:
    """The graph that is run: NaN and infinity passed on as IEEE 754 says, float16 rounded where the model says so.

    Tensors and nodes keep their names, so what was found in the graph before stays right.
    """
    model = make_nan_safe(done.model)
    return add_barriers(model) if done.half else model


def _check_opset(model: ModelProto) -> None:
    opset = opset_of(model)
    if opset < OLDEST_OPSET:
        raise ModelError(
            f"the model is of opset {opset}, ONNX Runtime needs {OLDEST_OPSET} or newer: "
            "bring it up with onnx.version_converter."
        )


def choose_output(model: ModelProto, output: str | None) -> str:
    """The tensor that holds the logits: `output`, or the model's only output."""
    graph = model.graph
    made = {o for n in graph.node for o in n.output if o}
    outputs = [v.name for v in graph.output]
    if output is None:
        if not outputs:
            raise ModelError("the model has no output: name the tensor of the logits with --output.")
        if len(outputs) > 1:
            raise ModelError(f"the model has several outputs ({_list(outputs)}): choose the logits with --output NAME.")
        output = outputs[0]
    if output not in made:
        known = outputs if outputs else sorted(made)[:10]
        raise ModelError(f"no node writes a tensor {output!r} for --output: the model's outputs are {_list(known)}.")
    _refuse_picked(model, output)
    return output


def _refuse_picked(model: ModelProto, output: str) -> None:
    """An output that only moves or casts what ArgMax or TopK picked is an answer, not logits."""
    wiring = Wiring(model.graph)
    tensor = output
    while (node := wiring.producer.get(tensor)) is not None:
        if node.op_type in PICKS and not (node.op_type == "TopK" and tensor == node.output[0]):
            raise ModelError(
                f"output {output!r} is the index that node {node.name!r} ({node.op_type}) picked, not logits: "
                f"take --output {node.input[0]!r}."
            )
        if node.op_type not in SAME_WORD | {"Cast", "Gather", "Slice"}:
            return
        tensor = node.input[0]


def _list(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names)


def refuse_nodes(model: ModelProto) -> None:
    """Raise ModelError for the first node that is control flow, random or in training mode."""
    opset = opset_of(model)
    constants = {t.name: t for t in model.graph.initializer}
    for node in walk_nodes(model.graph):
        where = f"node {node.name!r} ({node.op_type})"
        if node.op_type in CONTROL_FLOW or any(a.HasField("g") or a.graphs for a in node.attribute):
            raise ModelError(f"{where} is control flow, which cannot be treated: export the model without it.")
        if node.op_type in RANDOM:
            raise ModelError(f"{where} draws random numbers, so no two runs agree: export the model for inference.")
        outputs = [o for o in node.output if o]
        training = node.op_type == "BatchNormalization" and (
            attribute(node, "training_mode", 0) == 1 or (opset < 14 and len(outputs) > 1)
        )
        if node.op_type == "Dropout" and len(node.input) > 2 and node.input[2]:
            flag = constants.get(node.input[2])
            training = flag is None or bool(onnx.numpy_helper.to_array(flag).any())
        if training:
            raise ModelError(f"{where} is in training mode: export the model in evaluation mode (model.eval()).")


def _refuse_types(model: ModelProto, types: dict[str, TypeProto]) -> None:
    constant = Wiring(model.graph).constant
    for node in model.graph.node:
        if any(o not in constant and elem_type(types, o) == "BFLOAT16" for o in node.output):
            raise ModelError(
                f"node {node.name!r} ({node.op_type}) computes in bfloat16, which ONNX Runtime cannot do everywhere: "
                "store the weights as bfloat16 behind a Cast and compute in float32."
            )


def infer(model: ModelProto) -> dict[str, TypeProto]:
    """Types and shapes by onnx's inference, as far as it gets; weights take part by shape only, so it costs little."""
    slim = ModelProto()
    slim.ir_version = model.ir_version
    slim.opset_import.extend(model.opset_import)
    graph = slim.graph
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.INT64 and sum(tensor.dims) < 1024:
            graph.initializer.append(tensor)
        else:
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    with suppress(Exception):  # inference is a help: an op it does not know ends it, and the runtime may know that op
        slim = onnx.shape_inference.infer_shapes(slim, data_prop=True)
    values = (*slim.graph.value_info, *slim.graph.input, *slim.graph.output)
    types = {v.name: v.type for v in values if v.type.HasField("tensor_type") and v.type.tensor_type.elem_type}
    for tensor in model.graph.initializer:
        types.setdefault(tensor.name, onnx.helper.make_tensor_type_proto(tensor.data_type, list(tensor.dims)))
    return types


def elem_type(types: dict[str, TypeProto], tensor: str) -> str | None:
    """ONNX's name of the tensor's element type, None where inference could not tell."""
    return type_name(types[tensor].tensor_type.elem_type) if tensor in types else None


def _info(name: str, types: dict[str, TypeProto]) -> ValueInfoProto | None:
    return onnx.helper.make_value_info(name, types[name]) if name in types else None
