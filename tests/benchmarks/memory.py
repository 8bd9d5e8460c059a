"""Peak anonymous memory of a ResNet-18-sized study: `python tests/benchmarks/memory.py [--workers 2]`.

The model is ResNet-18 (He et al. 2016, Table 1; 11.7 million weights, BatchNormalization unfolded, 224x224, 1000
classes) with random weights, written here. `onnxfi analyze MODEL --synthetic 100` runs on it as a user would call it,
with a budget of trials so that it ends; meanwhile RssAnon in /proc/PID/status, which counts what is allocated and not
the files that are mapped, is summed over its processes, twenty times a second. The peak must stay below 2 GiB. Linux
only.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from setting import REPOSITORY

STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))
LIMIT = 2 << 30


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, watch, print; 1 where the study failed or took too much."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--budget", type=int, default=4000, help="trials")
    parser.add_argument("more", nargs="*", metavar="OPTION", help="further options of analyze, after --")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="onnxfi-memory-") as name:
        folder = Path(name)
        onnx.save(resnet18(), folder / "resnet18.onnx")
        words = [
            sys.executable,
            "-m",
            "onnxfi",
            "analyze",
            str(folder / "resnet18.onnx"),
            "--out",
            str(folder / "study"),
        ]
        words += [
            "--synthetic",
            str(options.images),
            "--budget",
            str(options.budget),
            "--workers",
            str(options.workers),
        ]
        start = time.monotonic()
        with (folder / "log").open("wb") as log:
            study = subprocess.Popen([*words, *options.more], cwd=REPOSITORY, stdout=log, stderr=subprocess.STDOUT)
            peak, moment, each = watch(study, start)
        print((folder / "log").read_text()[-2000:] if study.returncode else "", end="")
    print(f"{options.workers} workers, {options.images} images, {options.budget} trials, "
          f"{time.monotonic() - start:.0f} s: "
          f"peak {peak / 2**20:.0f} MiB of anonymous memory in all processes, after {moment:.0f} s "
          f"({' + '.join(f'{size / 2**20:.0f}' for size in each)}); limit {LIMIT / 2**20:.0f}")  # fmt: skip
    return int(study.returncode != 0 or peak >= LIMIT)


def watch(study: subprocess.Popen[bytes], start: float) -> tuple[int, float, list[int]]:
    """Bytes at the peak, the second it was reached, and each process's share of it."""
    peak, moment, each = 0, 0.0, [0]
    while study.poll() is None:
        sizes = [anonymous(pid) for pid in family(study.pid)]
        if sum(sizes) > peak:
            peak, moment, each = sum(sizes), time.monotonic() - start, sizes
        time.sleep(0.05)
    return peak, moment, each


def family(pid: int) -> list[int]:
    """A process and all that it started, and they."""
    try:
        text = "".join(path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children"))
    except OSError:
        return [pid]
    return [pid, *(member for child in text.split() for member in family(int(child)))]


def anonymous(pid: int) -> int:
    """RssAnon in bytes; 0 for a process that has gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), 0)


def resnet18() -> onnx.ModelProto:
    """ResNet-18 with He-normal weights and BatchNormalization that keeps numbers in range, batch free."""
    net = _Net()
    x = net.relu(net.layer("conv1", "images", 3, 64, 7, 2))
    x = net.add("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    width = 64
    for stage, (channels, stride) in enumerate(STAGES, 1):
        for block in range(2):
            name, step = f"layer{stage}.{block}", stride if block == 0 else 1
            y = net.relu(net.layer(f"{name}.conv1", x, width, channels, 3, step))
            y = net.layer(f"{name}.conv2", y, channels, channels, 3, 1)
            same = step == 1 and width == channels
            x = net.relu(
                net.add("Add", [y, x if same else net.layer(f"{name}.downsample", x, width, channels, 1, step)])
            )
            width = channels
    x = net.add("Flatten", [net.add("GlobalAveragePool", [x])])
    net.weight("fc.weight", (1000, width), width)
    net.weight("fc.bias", (1000,), width)
    net.add("Gemm", [x, "fc.weight", "fc.bias"], output="logits", transB=1)
    floats = TensorProto.FLOAT
    images = helper.make_tensor_value_info("images", floats, ["N", 3, 224, 224])
    logits = helper.make_tensor_value_info("logits", floats, ["N", 1000])
    graph = helper.make_graph(net.nodes, "resnet18", [images], [logits], net.constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


class _Net:
    """Nodes and initializers, one after the other."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._rng = np.random.default_rng(0)

    def add(self, op: str, inputs: Sequence[str], output: str | None = None, **attributes: Any) -> str:
        """A node; the name of what it writes."""
        output = output or f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], name=f"{op}_{len(self.nodes)}", **attributes))
        return output

    def weight(self, name: str, shape: tuple[int, ...], fan_in: int) -> None:
        """Normal with variance 2 / fan_in."""
        values = self._rng.standard_normal(shape) * np.sqrt(2 / fan_in)
        self.constants.append(numpy_helper.from_array(values.astype(np.float32), name))

    def layer(self, name: str, x: str, inputs: int, outputs: int, kernel: int, stride: int) -> str:
        """Convolution and BatchNormalization."""
        self.weight(f"{name}.weight", (outputs, inputs, kernel, kernel), inputs * kernel * kernel)
        pads, parts = [kernel // 2] * 4, ("scale", "shift", "mean", "variance")
        x = self.add("Conv", [x, f"{name}.weight"], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads)
        for part, low, high in zip(parts, (0.5, -0.1, -0.1, 0.5), (1.0, 0.1, 0.1, 1.5), strict=True):
            values = self._rng.uniform(low, high, outputs).astype(np.float32)
            self.constants.append(numpy_helper.from_array(values, f"{name}.{part}"))
        return self.add("BatchNormalization", [x, *(f"{name}.{part}" for part in parts)])

    def relu(self, x: str) -> str:
        """ReLU."""
        return self.add("Relu", [x])


if __name__ == "__main__":
    sys.exit(main())
