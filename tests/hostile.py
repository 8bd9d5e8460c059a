"""A small model every name of which is an attack on the page that shows it, and groups of its classes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HOSTILE = "<script>window.hacked=1</script>"
IMAGE = '"><img src=x onerror="window.hacked=1">'
EXPRESSION = "'+alert(1)+'\\u0000{{7*7}}${1}"
CLASSES = [HOSTILE, IMAGE, "</script></style><svg onload=window.hacked=1>", EXPRESSION, "bird", "fish", "ant"]


def model(path: Path) -> Path:
    """Two layers and seven classes, every name of which is an attack."""
    draw = np.random.RandomState(1)
    first, second = draw.randn(4, 6).astype(np.float32), draw.randn(6, 7).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", HOSTILE], ["a"], name=HOSTILE),
            helper.make_node("Relu", ["a"], ["b"]),
            helper.make_node("MatMul", ["b", IMAGE], ["y"], name=IMAGE),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 7])],
        [numpy_helper.from_array(first, HOSTILE), numpy_helper.from_array(second, IMAGE)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def groups_file(path: Path) -> Path:
    groups = [
        {"name": HOSTILE, "supergroup": "A", "why": IMAGE, "classes": [0, 1]},
        {"name": "rest", "supergroup": "B", "classes": [2, 3, 4, 5, 6]},
    ]
    whole = {"format": "onnxfi-groups-1", "name": IMAGE, "source": HOSTILE, "classes": CLASSES, "groups": groups}
    path.write_text(json.dumps(whole))
    return path


def images_file(path: Path) -> Path:
    """Twenty labelled images of noise, and names of the classes."""
    draw = np.random.RandomState(2)
    images = draw.randn(20, 4).astype(np.float32)
    np.savez(path, images=images, labels=draw.randint(0, 7, 20), classes=np.array(CLASSES))
    return path
