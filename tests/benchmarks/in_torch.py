"""Whole forwards of a small network in eager PyTorch, with one wrong number in them: how the public code runs them.

Its network is torch modules, its faults are additions within hooks, one forward a candidate; here the few ops of
`tests/trained_net.py` are called one after the other, and the wrong number is written where it belongs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F  # noqa: N812 (as everyone calls it)
from onnx import numpy_helper

Array = np.ndarray[Any, Any]
OPS: dict[str, Callable[..., torch.Tensor]] = {
    "Conv": lambda x, w: F.conv2d(x, w, padding=1),
    "BatchNormalization": lambda x, scale, shift, mean, var: F.batch_norm(x, mean, var, scale, shift, eps=1e-5),
    "Relu": F.relu,
    "MaxPool": lambda x: F.max_pool2d(x, 2),
    "GlobalAveragePool": lambda x: F.adaptive_avg_pool2d(x, 1),
    "Flatten": lambda x: torch.flatten(x, 1),
    "Gemm": F.linear,
}


class Torch:
    """The network of `trained_net.write`, read from its file."""

    def __init__(self, model: Path) -> None:
        torch.set_num_threads(1)
        graph = onnx.load(model).graph
        self._nodes = [(node.op_type, list(node.input), node.output[0]) for node in graph.node]
        self._weights = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in graph.initializer}

    @torch.no_grad()
    def run(self, image: Array, tensor: str, site: int, value: float) -> Array:
        """Logits (1, 10) of an image (1, 1, 14, 14), with `value` at flat place `site` of the tensor."""
        known = dict(self._weights)
        if tensor in known:
            known[tensor] = known[tensor].clone()
            known[tensor].view(-1)[site] = value
        known["input"] = torch.from_numpy(image)
        if tensor == "input":
            known["input"].view(-1)[site] = value
        made = known["input"]
        for op, inputs, output in self._nodes:
            made = OPS[op](*(known[name] for name in inputs))
            if output == tensor:
                made.view(-1)[site] = value
            known[output] = made
        return made.numpy()
