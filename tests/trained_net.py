"""A small convolutional network trained on the spot with numpy, for tests that need real weights and all their faults.

conv 1-6-8-8 of 3x3 with BatchNormalization and ReLU, one max-pool, global average, a dense layer of ten: 1,142 weights.
It learns the bundled Fashion-MNIST images at 14x14; even ones train it, odd ones are for the tests.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from onnxfi.bundled import data_path

Array = np.ndarray[Any, Any]
WIDTHS = (1, 6, 8, 8)


def pictures() -> tuple[Array, Array]:
    """(500, 1, 14, 14) float32 images, normalised, and their labels."""
    with np.load(data_path()) as data:
        images = data["images"].astype(np.float32).reshape(-1, 1, 14, 2, 14, 2).mean(axis=(3, 5))
        return (images / 255 - 0.286) / 0.353, data["labels"].astype(np.int64)


class _Block:
    """Conv 3x3 (padding 1, no bias), BatchNormalization, ReLU; momentum SGD in `step`."""

    def __init__(self, rng: np.random.Generator, wide: int, out: int) -> None:
        self.w = rng.normal(0, np.sqrt(2 / (9 * wide)), (out, wide, 3, 3))
        self.gamma, self.beta = np.ones(out), np.zeros(out)
        self.mean, self.var = np.zeros(out), np.ones(out)
        self.speed = [np.zeros_like(p) for p in (self.w, self.gamma, self.beta)]

    def forward(self, x: Array) -> Array:
        self.x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        self.patches = np.lib.stride_tricks.sliding_window_view(self.x, (3, 3), axis=(2, 3))
        y = np.einsum("nchwij,ocij->nohw", self.patches, self.w, optimize=True)
        mean, var = y.mean(axis=(0, 2, 3)), y.var(axis=(0, 2, 3))
        self.mean, self.var = 0.9 * self.mean + 0.1 * mean, 0.9 * self.var + 0.1 * var
        self.scale = 1 / np.sqrt(var + 1e-5)
        self.hat = (y - mean[:, None, None]) * self.scale[:, None, None]
        self.z = self.hat * self.gamma[:, None, None] + self.beta[:, None, None]
        return np.maximum(self.z, 0)

    def backward(self, g: Array) -> Array:
        g = g * (self.z > 0)
        self.grads = [None, (g * self.hat).sum(axis=(0, 2, 3)), g.sum(axis=(0, 2, 3))]
        g = g * self.gamma[:, None, None]
        centred = g - g.mean(axis=(0, 2, 3), keepdims=True)
        centred -= self.hat * (g * self.hat).mean(axis=(0, 2, 3), keepdims=True)
        g = centred * self.scale[:, None, None]
        self.grads[0] = np.einsum("nohw,nchwij->ocij", g, self.patches, optimize=True)
        padded = np.pad(g, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
        return np.einsum("nohwij,ocij->nchw", windows, self.w[:, :, ::-1, ::-1], optimize=True)

    def step(self, rate: float) -> None:
        for p, v, g in zip((self.w, self.gamma, self.beta), self.speed, self.grads, strict=True):
            v *= 0.9
            v -= rate * g
            p += v


def train(epochs: int = 30) -> tuple[list[_Block], Array]:
    """Trained blocks, and the dense layer's weights (10, 8)."""
    rng = np.random.default_rng(7)
    images, labels = pictures()
    images, labels = images[::2].astype(np.float64), labels[::2]
    blocks = [_Block(rng, a, b) for a, b in pairwise(WIDTHS)]
    dense, speed = rng.normal(0, 0.3, (10, WIDTHS[-1])), np.zeros((10, WIDTHS[-1]))
    for epoch in range(epochs):
        rate = 0.1 * (1 - epoch / epochs)
        for batch in np.array_split(rng.permutation(len(images)), 10):
            x = blocks[0].forward(images[batch])
            pooled = x.reshape(*x.shape[:2], 7, 2, 7, 2).max(axis=(3, 5))
            deep = blocks[2].forward(blocks[1].forward(pooled))
            features = deep.mean(axis=(2, 3))
            logits = features @ dense.T
            p = np.exp(logits - logits.max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
            p[np.arange(len(batch)), labels[batch]] -= 1
            p /= len(batch)
            speed = 0.9 * speed - rate * p.T @ features
            g = np.broadcast_to((p @ dense)[:, :, None, None] / 49, deep.shape)
            dense = dense + speed
            g = blocks[1].backward(blocks[2].backward(g))
            won = x == np.repeat(np.repeat(pooled, 2, axis=2), 2, axis=3)
            blocks[0].backward(np.repeat(np.repeat(g, 2, axis=2), 2, axis=3) * won)
            for block in blocks:
                block.step(rate)
    return blocks, dense


def write(path: Path) -> Path:
    """Train, and write the network to `path`: input (N, 1, 14, 14), output `logits`."""
    blocks, dense = train()
    nodes, constants, at = [], [], "input"

    def constant(name: str, value: Array) -> str:
        constants.append(numpy_helper.from_array(value.astype(np.float32), name))
        return name

    for i, block in enumerate(blocks, 1):
        weight = constant(f"conv{i}.weight", block.w)
        nodes.append(helper.make_node("Conv", [at, weight], [f"c{i}"], name=f"conv{i}", pads=[1, 1, 1, 1]))
        parts = {"scale": block.gamma, "shift": block.beta, "mean": block.mean, "var": block.var}
        names = [constant(f"bn{i}.{name}", value) for name, value in parts.items()]
        nodes.append(helper.make_node("BatchNormalization", [f"c{i}", *names], [f"b{i}"], name=f"bn{i}"))
        nodes.append(helper.make_node("Relu", [f"b{i}"], [f"r{i}"], name=f"relu{i}"))
        at = f"r{i}"
        if i == 1:
            nodes.append(helper.make_node("MaxPool", [at], ["p1"], name="pool", kernel_shape=[2, 2], strides=[2, 2]))
            at = "p1"
    nodes.append(helper.make_node("GlobalAveragePool", [at], ["gap"], name="gap"))
    nodes.append(helper.make_node("Flatten", ["gap"], ["flat"], name="flat"))
    weight = constant("fc.weight", dense)
    nodes.append(helper.make_node("Gemm", ["flat", weight], ["logits"], name="fc", transB=1))
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 1, 14, 14])
    taken = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])
    graph = helper.make_graph(nodes, "small", [given], [taken], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


def save_pictures(path: Path, count: int) -> Path:
    """`count` of the images that the network was not trained on, as .npz, ready to be fed."""
    images, labels = pictures()
    some = np.linspace(0, 249, count).astype(np.int64) * 2 + 1
    np.savez(path, images=images[some], labels=labels[some])
    return path
