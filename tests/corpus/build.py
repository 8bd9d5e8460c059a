"""Writing a small model: one call a node, weights from a seeded generator, names like an exporter's."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import ml_dtypes  # noqa: F401  (gives numpy its bfloat16)
import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from .case import CLASSES

Array = npt.NDArray[Any]


class Build:
    """A model under construction.

    `shape` is one image; `batch` a name (free) or a number (fixed); `dtype` that of the input and of every weight that
    does not say otherwise. `legacy` lists the initializers among the graph inputs, as exporters did before IR 4.
    """

    def __init__(
        self,
        name: str,
        *,
        opset: int = 20,
        ir: int = 10,
        shape: Sequence[int] = (3, 8, 8),
        batch: str | int = "N",
        dtype: str = "float32",
        image: str = "image",
        legacy: bool = False,
    ) -> None:
        self.name, self.opset, self.ir, self.batch, self.legacy = name, opset, ir, batch, legacy
        self.dtype = np.dtype(dtype)
        self.rng = np.random.default_rng(zlib.crc32(name.encode()))
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.domains: dict[str, int] = {"": opset}
        self.functions: list[onnx.FunctionProto] = []
        self.image = image
        self.input = helper.make_tensor_value_info(image, helper.np_dtype_to_tensor_dtype(self.dtype), [batch, *shape])

    def op(self, kind: str, *inputs: str, name: str | None = None, output: str | None = None, **attributes: Any) -> str:
        """Add a node with one output and give back the output's name."""
        return self.ops(kind, *inputs, outputs=[output or self._fresh(kind)], name=name, **attributes)[0]

    def ops(
        self,
        kind: str,
        *inputs: str,
        outputs: int | Sequence[str] = 1,
        name: str | None = None,
        domain: str = "",
        **more: Any,
    ) -> list[str]:
        """Add a node with several outputs and give back their names."""
        written = [f"{self._fresh(kind)}_{i}" for i in range(outputs)] if isinstance(outputs, int) else list(outputs)
        label = f"/{kind}_{len(self.nodes)}" if name is None else name
        self.nodes.append(helper.make_node(kind, list(inputs), written, name=label, domain=domain, **more))
        return written

    def keep(self, value: npt.ArrayLike, name: str | None = None, dtype: str | None = None) -> str:
        """Add an initializer and give back its name."""
        label = name or f"const_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(value, dtype), label))
        return label

    def normal(self, *shape: int, scale: float = 1.0, offset: float = 0.0) -> Array:
        """Seeded normal numbers in the model's dtype."""
        return (offset + scale * self.rng.standard_normal(shape)).astype(self.dtype)

    def positive(self, *shape: int) -> Array:
        """Seeded numbers between 0.5 and 1.5 in the model's dtype."""
        return self.rng.uniform(0.5, 1.5, shape).astype(self.dtype)

    def ints(self, *values: int) -> str:
        """Add an int64 vector (a shape, axes, bounds) and give back its name."""
        return self.keep(np.array(values, np.int64))

    def filters(self, *shape: int) -> Array:
        """Seeded filters, scaled by the numbers that each of them sums (He)."""
        return self.normal(*shape, scale=float(np.sqrt(2.0 / np.prod(shape[1:]))))

    def conv(
        self,
        x: str,
        into: int,
        out: int,
        kernel: Sequence[int] = (3, 3),
        *,
        name: str,
        bias: bool = False,
        group: int = 1,
        **attributes: Any,
    ) -> str:
        """A Conv of `into` channels to `out`, its weight called `name`.weight; 3x3 with padding 1 unless told."""
        weights = [self.keep(self.filters(out, into // group, *kernel), f"{name}.weight")]
        if bias:
            weights.append(self.keep(self.normal(out, scale=0.1), f"{name}.bias"))
        if "pads" not in attributes and "auto_pad" not in attributes:
            attributes["pads"] = [k // 2 for k in kernel] * 2
        return self.op("Conv", x, *weights, name=f"/{name}/Conv", kernel_shape=list(kernel), group=group, **attributes)

    def norm(self, x: str, channels: int, name: str) -> str:
        """A BatchNormalization with statistics that differ from channel to channel."""
        roles = {
            "weight": self.positive(channels) * self.rng.choice([-1.0, 1.0], channels).astype(self.dtype),
            "bias": self.normal(channels, scale=0.2),
            "running_mean": self.normal(channels, scale=0.3),
            "running_var": self.positive(channels),
        }
        names = [self.keep(value, f"{name}.{role}") for role, value in roles.items()]
        return self.op("BatchNormalization", x, *names, name=f"/{name}/BatchNormalization", epsilon=1e-5)

    def unit(self, x: str, into: int, out: int, name: str, **attributes: Any) -> str:
        """Conv, BatchNormalization, Relu."""
        y = self.norm(self.conv(x, into, out, name=f"{name}.conv", **attributes), out, f"{name}.norm")
        return self.op("Relu", y, name=f"/{name}/Relu")

    def dense(self, x: str, into: int, out: int = CLASSES, name: str = "fc", **attributes: Any) -> str:
        """A Gemm as PyTorch exports it: weight (out, into), transB, bias."""
        weight = self.keep(self.normal(out, into, scale=2 / np.sqrt(into)), f"{name}.weight")
        bias = self.keep(self.normal(out, scale=0.1), f"{name}.bias")
        return self.op("Gemm", x, weight, bias, name=f"/{name}/Gemm", transB=1, **attributes)

    def head(self, x: str, channels: int) -> onnx.ModelProto:
        """GlobalAveragePool, Flatten, Gemm to the classes: the finished model."""
        pooled = self.op("GlobalAveragePool", x, name="/pool/GlobalAveragePool")
        return self.model(self.dense(self.op("Flatten", pooled, axis=1), channels))

    def model(self, *outputs: str, dtype: str | None = None, **shapes: Sequence[Any]) -> onnx.ModelProto:
        """The finished model. The first output is renamed `logits`, (N, CLASSES); `shapes` has those of the others."""
        logits = outputs[0]
        for node in self.nodes:
            node.input[:] = ["logits" if n == logits else n for n in node.input]
            node.output[:] = ["logits" if n == logits else n for n in node.output]
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype or self.dtype))
        values = [helper.make_tensor_value_info("logits", kind, [self.batch, CLASSES])]
        values += [helper.make_tensor_value_info(n, kind, list(shapes[n])) for n in outputs[1:]]
        inputs = [self.input]
        if self.legacy:
            inputs += [helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in self.initializers]
        graph = helper.make_graph(self.nodes, self.name, inputs, values, self.initializers)
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid(domain, version) for domain, version in self.domains.items()],
            functions=self.functions,
            ir_version=self.ir,
            producer_name="onnxfi-corpus",
        )

    def _fresh(self, kind: str) -> str:
        return f"/{kind}_output_{len(self.nodes)}"
