"""How the weight of a layer lies in its file, as PyTorch would index it: (o, i, ...) over the stored words."""

from __future__ import annotations

from onnx import NodeProto

from onnxfi.faults.layout import Layout
from onnxfi.graph.layers import Layer, Parameter
from onnxfi.graph.network import Network
from onnxfi.graph.path import find_path
from onnxfi.graph.wiring import Wiring, attribute

_KEPT = ("Identity", "Cast", "BitCast", "DequantizeLinear")
_DENSE = ("Gemm", "MatMul", "FusedGemm", "FusedMatMul", "MatMulInteger", "QLinearMatMul", "QGemm")


def pytorch_layout(network: Network, layer: Layer, parameter: Parameter) -> Layout | None:
    """Steps through the stored words of `parameter`, the weight of `layer`, in PyTorch's order of axes.

    Conv has it as it is, Gemm and MatMul are turned where they hold (i, o). Transposes and reshapes between the file
    and the op are followed; None where the op's axes are no steps through what is stored.
    """
    path = find_path(network.model, parameter.tensor, parameter.path)
    if path is None:
        return None
    layout = Layout.plain(parameter.shape)
    for node, after in zip(path.nodes, path.shapes[1:], strict=True):
        if node.op_type == "Transpose":
            layout = layout.transposed(_order(node, len(layout.shape)))
        elif node.op_type not in _KEPT:
            reshaped = _reshaped(layout, after)
            if reshaped is None:
                return None
            layout = reshaped
    if layer.op not in _DENSE:
        return layout
    if len(layout.shape) != 2:
        return None
    node = Wiring(network.model.graph).node[layer.node]
    first = parameter.slot == 0
    turned = bool(attribute(node, "transA" if first else "transB", 0))
    return layout if turned != first else layout.transposed((1, 0))


def depthwise_channels(network: Network, layer: Layer, layout: Layout) -> int | None:
    """The channels of a convolution that has a group for each of them; None for any other layer.

    `layout`: of its weight, in PyTorch's order of axes.
    """
    groups = attribute(Wiring(network.model.graph).node[layer.node], "group", 1)
    return groups if layer.op == "Conv" and groups > 1 and layout.shape[1] == 1 else None


def _order(node: NodeProto, rank: int) -> tuple[int, ...]:
    return next((tuple(a.ints) for a in node.attribute if a.name == "perm"), tuple(reversed(range(rank))))


def _reshaped(layout: Layout, shape: tuple[int, ...]) -> Layout | None:
    """The same words under another shape; None where no steps lead through them.

    Neighbouring axes that run on into each other are one run of words; the new axes must divide these runs.
    """
    runs: list[tuple[int, int]] = []
    for size, step in zip(layout.shape, layout.steps, strict=True):
        if runs and runs[-1][1] == size * step:
            runs[-1] = (runs[-1][0] * size, step)
        elif size > 1:
            runs.append((size, step))
    steps: list[int] = []
    left, step = runs.pop() if runs else (1, 1)
    for size in reversed(shape):
        if left == 1 and runs and size > 1:
            left, step = runs.pop()
        if left % size:
            return None
        steps.append(step)
        left, step = left // size, step * size
    return Layout(shape, tuple(reversed(steps)))
