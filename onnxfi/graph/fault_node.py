"""The small graphs that the engine puts before a tail or after a layer's op. They use no model: only shapes and types.

`feeder` is the fault node: it picks golden rows by image and puts the changed part in. `chain_model` runs a channelwise
chain on single channels; `op_model` runs one op whose weights are inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from onnxfi.graph.chain import Chain
from onnxfi.graph.cut import wrap

FEEDER_OPSET = 17


@dataclass(frozen=True)
class Layout:
    """How a tensor of the model is made of rows, one an image.

    `shape` is one image's row: the tensor's shape without its batch axis `axis`; or, where an image takes `repeat` > 1
    steps of that axis, with `repeat` on it. With `minor`, the images lie beside each other within each of the `repeat`
    steps (S*B rather than B*S).
    """

    elem_type: int
    shape: tuple[int, ...]
    axis: int = 0
    repeat: int = 1
    minor: bool = False

    def stacked(self, rows: int | str) -> tuple[int | str, ...]:
        """The tensor's own shape, with `rows` on its batch axis."""
        after = self.axis if self.repeat == 1 else self.axis + 1
        return (*self.shape[: self.axis], rows, *self.shape[after:])


def feeder(layouts: Sequence[Layout], patch: str) -> onnx.ModelProto:
    """Gather rows of several golden tensors; patch the first of them.

    Inputs: `golden_i` (N, *shape_i), `image` int64 (R,), and for patch 'slice': `where` int64 (R, 2) of (row, channel)
    and `what` (R, *shape_0[1:]); for 'elements': `where` int64 (M, 1) flat into (R * size) and `what` (M,); for
    'nothing': no more. Outputs `rows_i`: R rows stacked as the model lays them out.
    """
    nodes, inputs, outputs, constants = [], [_info("image", TensorProto.INT64, ("R",))], [], []

    def shape_of(name: str, dims: Sequence[int]) -> str:
        constants.append(numpy_helper.from_array(np.array(dims, np.int64), name))
        return name

    for i, layout in enumerate(layouts):
        inputs.append(_info(f"golden_{i}", layout.elem_type, ("N", *layout.shape)))
        outputs.append(_info(f"rows_{i}", layout.elem_type, layout.stacked("rows")))
        nodes.append(helper.make_node("Gather", [f"golden_{i}", "image"], [f"picked_{i}"], axis=0))
        rows = f"picked_{i}"
        if i == 0 and patch != "nothing":
            flat = patch == "elements"
            inputs.append(_info("where", TensorProto.INT64, ("M", 1) if flat else ("R", 2)))
            inputs.append(_info("what", layout.elem_type, ("M",) if flat else ("R", *layout.shape[1:])))
            if flat:
                nodes.append(helper.make_node("Reshape", [rows, shape_of("flat", [-1])], ["flat_rows"]))
                nodes.append(helper.make_node("ScatterND", ["flat_rows", "where", "what"], ["flat_patched"]))
                back = shape_of("back", [-1, *layout.shape])
                nodes.append(helper.make_node("Reshape", ["flat_patched", back], ["patched"]))
            else:
                nodes.append(helper.make_node("ScatterND", [rows, "where", "what"], ["patched"]))
            rows = "patched"
        if layout.axis or layout.minor:
            at = layout.axis + (1 if layout.minor else 0)
            order = [*range(1, at + 1), 0, *range(at + 1, len(layout.shape) + 1)]
            nodes.append(helper.make_node("Transpose", [rows], [f"moved_{i}"], perm=order))
            rows = f"moved_{i}"
        merged = shape_of(f"merged_{i}", [-1 if d == "rows" else int(d) for d in layout.stacked("rows")])
        nodes.append(helper.make_node("Reshape", [rows, merged], [f"rows_{i}"]))
    return _model(nodes, inputs, outputs, constants)


def op_model(
    node: onnx.NodeProto, elem_type: int, given: Mapping[int, int], attributes: Mapping[str, int], like: onnx.ModelProto
) -> onnx.ModelProto:
    """`node` alone, with its inputs `i0`, `i1`, ... run-time inputs of rank `given[slot]`, and attributes replaced."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    kept = [a for a in copy.attribute if a.name not in attributes]
    del copy.attribute[:], copy.input[:], copy.output[:]
    copy.attribute.extend(kept)
    copy.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
    copy.input.extend(f"i{slot}" if slot in given else "" for slot in range(max(given) + 1))
    copy.output.append("out")
    inputs = [_info(f"i{slot}", elem_type, [f"d{slot}_{a}" for a in range(rank)]) for slot, rank in given.items()]
    outputs = [_info("out", elem_type, [f"o_{a}" for a in range(given[0])])]
    return wrap(helper.make_graph([copy], "op", inputs, outputs), like)


def chain_model(chain: Chain, layout: Layout, rest: int, like: onnx.ModelProto) -> onnx.ModelProto:
    """The chain on single channels: input `channel` (1, R, *rest), `golden_i` alike; output `end`.

    `rest` is the number of axes after the channel. Per-channel constants are inputs `parameter_i`, (R,) for
    BatchNormalization and (1, R, 1, ...) elsewhere; fixed constants stay inside.
    """
    whole: tuple[int | str, ...] = (1, "R", *(f"s{a}" for a in range(rest)))
    inputs, nodes, fixed = [_info("channel", layout.elem_type, whole)], [], []
    constants = {tensor.name: tensor for tensor in like.graph.initializer}
    counts, current = {"golden": 0, "parameter": 0}, "channel"
    for i, link in enumerate(chain.links):
        node = onnx.NodeProto()
        node.CopyFrom(link.node)
        node.input[link.slot] = current
        for operand in link.operands:
            if operand.kind == "fixed":
                fixed.append(_scalar(constants[operand.tensor]))
                continue
            name = f"{operand.kind}_{counts[operand.kind]}"
            counts[operand.kind] += 1
            node.input[operand.slot] = name
            narrow: tuple[int | str, ...] = (1, "R", *(1,) * rest)
            if node.op_type == "BatchNormalization":
                narrow = ("R",)
            inputs.append(_info(name, layout.elem_type, whole if operand.kind == "golden" else narrow))
        del node.output[1:]
        node.output[0] = current = "end" if i == len(chain.links) - 1 else f"link_{i}"
        nodes.append(node)
    outputs = [_info("end", layout.elem_type, whole)]
    return wrap(helper.make_graph(nodes, "chain", inputs, outputs, list({t.name: t for t in fixed}.values())), like)


def _scalar(tensor: onnx.TensorProto) -> onnx.TensorProto:
    if all(d == 1 for d in tensor.dims) and len(tensor.dims) > 0:
        return numpy_helper.from_array(numpy_helper.to_array(tensor).reshape(()), tensor.name)
    return tensor


def _info(name: str, elem_type: int, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, elem_type, list(shape))


def _model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    constants: list[onnx.TensorProto],
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "feeder", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", FEEDER_OPSET)], ir_version=8)
