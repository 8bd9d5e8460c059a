"""One small network as two exporters write it, for fault lists: PyTorch's way, and Keras' with kernels behind nodes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]
SIZE = 6

PYTORCH = ("body.conv", "body.depth", "head")
KERAS = ("conv2d", "depthwise_conv2d", "dense")


def weights() -> dict[str, Array]:
    """Conv 2 -> 3 of 3x3, a depthwise one of multiplier 2, and a dense layer 6 -> 4, in PyTorch's form."""
    rng = np.random.default_rng(5)
    shapes = {"conv": (3, 2, 3, 3), "depth": (6, 1, 3, 3), "head": (4, 6)}
    return {name: rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}


def pytorch(path: Path, named: bool = True) -> Path:
    """Weights as PyTorch stores them, called as it calls them; `named` False: `w1` to `w3`."""
    w = weights()
    names = [f"{name}.weight" for name in PYTORCH] if named else ["w1", "w2", "w3"]
    nodes = [
        helper.make_node("Conv", ["x", names[0]], ["a"], name="n1", pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["b"], name="n2"),
        helper.make_node("Conv", ["b", names[1]], ["c"], name="n3", group=3),
        helper.make_node("GlobalAveragePool", ["c"], ["d"], name="n4"),
        helper.make_node("Flatten", ["d"], ["e"], name="n5"),
        helper.make_node("Gemm", ["e", names[2]], ["y"], name="n6", transB=1),
    ]
    return _save(path, nodes, dict(zip(names, w.values(), strict=True)), {})


def keras(path: Path) -> Path:
    """The same with Keras' kernels, turned and reshaped by nodes, and Keras' layer names in the metadata."""
    w = weights()
    kernels = {
        "k1": w["conv"].transpose(2, 3, 1, 0),
        "k2": w["depth"].reshape(3, 2, 3, 3).transpose(2, 3, 0, 1),  # (h, w, c, m)
        "k3": w["head"].T,
        "shape": np.array([6, 1, 3, 3]),
    }
    nodes = [
        helper.make_node("Transpose", ["k1"], ["t1"], name="m1", perm=[3, 2, 0, 1]),
        helper.make_node("Conv", ["x", "t1"], ["a"], name="n1", pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["b"], name="n2"),
        helper.make_node("Transpose", ["k2"], ["t2"], name="m2", perm=[2, 3, 0, 1]),
        helper.make_node("Reshape", ["t2", "shape"], ["t3"], name="m3"),
        helper.make_node("Conv", ["b", "t3"], ["c"], name="n3", group=3),
        helper.make_node("GlobalAveragePool", ["c"], ["d"], name="n4"),
        helper.make_node("Flatten", ["d"], ["e"], name="n5"),
        helper.make_node("MatMul", ["e", "k3"], ["y"], name="n6"),
    ]
    recorded = dict(zip(("k1", "k2", "k3"), KERAS, strict=True))
    return _save(path, nodes, kernels, {"onnxfi.framework": "keras", "onnxfi.layers": json.dumps(recorded)})


def images(path: Path, count: int = 12) -> Path:
    """`count` images with labels."""
    rng = np.random.default_rng(1)
    np.savez(path, images=rng.normal(size=(count, 2, SIZE, SIZE)).astype(np.float32), labels=np.arange(count) % 4)
    return path


def match(path: Path) -> Path:
    """The match file of both."""
    path.write_text("PT,TF\n" + "".join(f"{a},{b}\n" for a, b in zip(PYTORCH, KERAS, strict=True)))
    return path


def _save(path: Path, nodes: list[Any], constants: dict[str, Array], metadata: dict[str, str]) -> Path:
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2, SIZE, SIZE])
    taken = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])
    stored = [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", [given], [taken], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path
