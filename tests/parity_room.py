"""What the tests of parity share: files of one network, images, and how much is asked of them."""

from __future__ import annotations

from pathlib import Path

import twins as t

from onnxfi.study.settings import Machine, Precision

W = t.weights()
KERAS = t.Style("kept", True, "matmul")
ONE = Machine(exact=True, workers=1)
FEW = Precision(budget=1000)


def furnished(folder: Path) -> Path:
    """The folder, now with two files of one network, a third with the same weights and other biases, and images."""
    t.twin(folder / "a.onnx", W)
    t.twin(folder / "b.onnx", W, KERAS)
    moved = {name: -value for name, value in W.items() if name.endswith(("beta", "bias"))}
    t.twin(folder / "other.onnx", {**W, **moved}, KERAS)
    t.images(folder / "x.npz", 30)
    return folder
