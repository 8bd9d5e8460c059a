"""Whether BatchNormalization is still in the graph: a flip in a folded weight is not a flip in the trained one."""

from __future__ import annotations

import re
from collections.abc import Sequence

from onnx import ModelProto

from onnxfi.graph.layers import Layer

_TRACE = re.compile(r"fused_?bn|fusedbatchnorm|batch_?norm|(^|[/._])bn\d*([/._]|$)", re.IGNORECASE)


def batch_norm(model: ModelProto, layers: Sequence[Layer]) -> str:
    """`kept`, `folded`, `none` or `none or folded`.

    Folding leaves a bias on the Conv, so without one there was none. With one, names tell: those that exporters give
    to what they folded (`..._fused_bn`, `conv1.weight_bias`, `onnx::Conv_12` as weight and bias, a
    BatchNormalization's name on the bias or on the Conv's output). Where names tell nothing the answer is open.
    """
    if any(node.op_type == "BatchNormalization" for node in model.graph.node):
        return "kept"
    biased = False
    for layer in layers:
        if "Conv" not in layer.op:
            continue
        weight = layer.weight.tensor if layer.weight is not None else ""
        for bias in (p.tensor for p in layer.parameters if p.role == "bias"):
            biased = True
            made = weight.startswith("onnx::Conv") and bias.startswith("onnx::Conv")
            if made or bias == f"{weight}_bias" or any(_TRACE.search(n) for n in (weight, bias, layer.output)):
                return "folded"
    return "none or folded" if biased else "none"
