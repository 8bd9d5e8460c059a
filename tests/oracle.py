"""The oracle: slow and obvious. The whole faulty model, run plainly.

Plainly: nothing optimised, no prepacking, one thread. The fault stands in the model itself, as nodes that change bits
where the tensor is written, or in the initializer. Only the masks are fed, so that one session serves all faults of a
tensor; `written` says the same of a model that stands on its own, and is what `onnxfi inject` writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper
from products import Mac, product

from onnxfi.engine.probe import Probe, Rows
from onnxfi.faults.bits import Word
from onnxfi.faults.fault import Change, Site
from onnxfi.faults.space import Region
from onnxfi.graph.network import Network
from onnxfi.graph.rewrite import with_faults

Array = np.ndarray[Any, Any]


def session(model: onnx.ModelProto) -> ort.InferenceSession:
    """The model, run plainly."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.disable_prepacking", "1")
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def changes(dtype: str) -> Iterator[tuple[str, Change]]:
    """Every bit flipped; the top bits and the lowest stuck at 0 and at 1; NaN, infinities, zeros, denormals, limits."""
    word = Word(dtype)
    for bit in range(word.width):
        yield f"flip@{bit}", Change.flip(bit)
    for bit in (0, word.width - 2, word.width - 1):
        yield f"stuck0@{bit}", Change.stuck_at_0(bit)
        yield f"stuck1@{bit}", Change.stuck_at_1(bit)
    yield "mask", Change.mask(0b101 << (word.width - 4))
    if word.mantissa is None:
        for number in (np.iinfo(dtype).min, 0, np.iinfo(dtype).max):
            yield f"value@{number}", Change.value(int(number), word)
        return
    infinity, nan = word.encode(np.inf), word.encode(np.nan)
    for name, bits in {
        "NaN": nan,
        "NaN with a payload": nan | 0b11,
        "signalling NaN": infinity | 1,
        "inf": infinity,
        "-inf": word.encode(-np.inf),
        "-0": word.encode(-0.0),
        "0": 0,
        "the smallest denormal": 1,
        "the largest denormal": (1 << word.mantissa) - 1,
        "the largest number": infinity - 1,
    }.items():
        yield name, Change(0, bits)


class Oracle:
    """`network` as the engine's `look` gave it, and the images (n, *shape) that the engine has."""

    def __init__(self, network: Network, probe: Probe, images: Array):
        self.network, self.probe, self.count = network, probe, len(images)
        # Four images a run: the bits of rows agree for multiples of four (test_corpus, narrow products).
        self.batch = probe.batch or 4
        self.order = np.arange(-(-len(images) // self.batch) * self.batch) % len(images)
        self.images = images
        self.golden = self._run(session(network.model), {})
        self._open: dict[tuple[str, bool], ort.InferenceSession] = {}
        self._macs: dict[tuple[str, int], Mac] = {}

    def logits(self, region: Region, site: int, change: Change) -> Array:
        """Logits (images, classes) of the whole model with that word changed, for every image."""
        if region.kind == "mac":
            if (region.tensor, site) not in self._macs:
                self._macs[region.tensor, site] = self.mac(region, site)
            mac = self._macs[region.tensor, site]
            words = Word(mac.before.dtype.name).words(mac.after(change))
            return self._activation(region.tensor, mac.neuron, np.zeros_like(words), words)
        word = Word(region.dtype)
        if region.target == "activations":
            ones = np.full(self.count, word.mask, word.unsigned)
            keep, toggle = word.unsigned.type(change.keep & word.mask), word.unsigned.type(change.toggle)
            return self._activation(region.tensor, site, ones & keep, ones & toggle)
        return self._weight(region.tensor, site, change)

    def _weight(self, tensor: str, site: int, change: Change) -> Array:
        """The initializer changed before the model runs."""
        held = next(t for t in self.network.model.graph.initializer if t.name == tensor)
        stored = numpy_helper.to_array(held).copy()
        words = Word(stored.dtype.name).words(stored.reshape(-1))
        words[site : site + 1] = change.apply(words[site : site + 1])
        baked = stored.dtype.name == "bfloat16"  # ONNX Runtime takes none from numpy: it stays in the file
        if not baked and (tensor, True) in self._open:
            return self._run(self._open[tensor, True], {tensor: stored})
        model = onnx.ModelProto()
        model.CopyFrom(self.network.model)
        mine = next(t for t in model.graph.initializer if t.name == tensor)
        if baked:
            mine.CopyFrom(numpy_helper.from_array(stored, tensor))
            return self._run(session(model), {})
        model.graph.initializer.remove(mine)
        model.graph.input.append(helper.make_tensor_value_info(tensor, held.data_type, list(held.dims)))
        self._open[tensor, True] = session(model)
        return self._run(self._open[tensor, True], {tensor: stored})

    def _activation(self, tensor: str, site: int, keep: Array, toggle: Array) -> Array:
        """One word of each image's row becomes (word & keep) ^ toggle; the masks (images,) are unsigned words."""
        if (tensor, False) not in self._open:
            self._open[tensor, False] = session(self._with_masks(tensor))
        place = self._places(tensor)[:, site]
        rows = self.probe.rows(tensor)
        shape = self._shape(tensor)
        word = Word(rows.dtype)
        wanted = np.dtype(rows.dtype) if word.mantissa is None else word.unsigned
        feeds = []
        for first in range(0, len(self.order), self.batch):
            mine = self.order[first : first + self.batch]
            masks = {"keep": (keep, word.mask), "toggle": (toggle, 0)}
            fed = {}
            for name, (each, neutral) in masks.items():
                whole = np.full(int(np.prod(shape)), neutral, word.unsigned)
                whole[place] = each[mine]
                fed[f"oracle {name}"] = whole.reshape(shape).view(wanted)
            feeds.append(fed)
        return self._run(self._open[tensor, False], feeds)

    def _places(self, tensor: str) -> Array:
        """Flat places (batch, row size) in the tensor at the oracle's batch of each image's row."""
        shape = self._shape(tensor)
        places = np.arange(int(np.prod(shape))).reshape(shape)
        return self.probe.rows(tensor).split(places, self.batch).reshape(self.batch, -1)

    def _shape(self, tensor: str) -> tuple[int, ...]:
        """The tensor's own shape at the oracle's batch."""
        layout = self.probe.rows(tensor).layout
        return tuple(int(d) for d in layout.stacked(self.batch * layout.repeat))

    def _with_masks(self, tensor: str) -> onnx.ModelProto:
        """The model with BitwiseAnd and BitwiseXor where `tensor` is written; all its readers see the outcome."""
        model = newest(self.network.model)
        rows = self.probe.rows(tensor)
        word, faulty = Word(rows.dtype), "oracle faulty"
        kind = rows.layout.elem_type
        for node in model.graph.node:
            node.input[:] = [faulty if name == tensor else name for name in node.input]
        for value in model.graph.output:
            value.name = faulty if value.name == tensor else value.name
        unsigned = int(helper.np_dtype_to_tensor_dtype(word.unsigned))
        whole = word.mantissa is None  # integers are their own words
        steps = [] if whole else [helper.make_node("BitCast", [tensor], ["oracle words"], to=unsigned)]
        steps.append(
            helper.make_node("BitwiseAnd", [tensor if whole else "oracle words", "oracle keep"], ["oracle kept"])
        )
        changed = faulty if whole else "oracle changed"
        steps.append(helper.make_node("BitwiseXor", ["oracle kept", "oracle toggle"], [changed]))
        steps += [] if whole else [helper.make_node("BitCast", [changed], [faulty], to=kind)]
        before = [i for i, node in enumerate(model.graph.node) if tensor in node.output]
        written = before[0] + 1 if before else 0
        every = [*model.graph.node[:written], *steps, *model.graph.node[written:]]
        del model.graph.node[:]
        model.graph.node.extend(every)
        for mask in ("oracle keep", "oracle toggle"):
            model.graph.input.append(helper.make_tensor_value_info(mask, kind if whole else unsigned, None))
        return model

    def mac(self, region: Region, site: int) -> Mac:
        """The product `site` % operands of the neuron `site` // operands, found by walking the kernel."""
        layer = self.network.layers[region.layer]
        node = next(n for n in self.network.model.graph.node if n.name == layer.node)
        x, y = self._rows(node.input[0]), self._rows(node.output[0])
        filters = self._constant(node.input[1])
        neuron, operand = divmod(site, region.operands)
        return product(node, x, filters, y, neuron, operand)

    def _rows(self, tensor: str) -> Array:
        """Golden rows (images, *row) of an activation."""
        if tensor == self.network.input.name:
            return self.images
        model = onnx.ModelProto()
        model.CopyFrom(self.network.model)
        del model.graph.output[:]
        model.graph.output.append(onnx.ValueInfoProto(name=tensor))
        return self._run(session(model), {}, tensor)

    def _constant(self, tensor: str) -> Array:
        """A weight as the layer's op reads it, whatever lies between."""
        model = onnx.ModelProto()
        model.CopyFrom(self.network.model)
        for held in model.graph.initializer:
            if held.name == tensor:
                return numpy_helper.to_array(held)
        del model.graph.output[:]
        model.graph.output.append(onnx.ValueInfoProto(name=tensor))
        fed = {self.network.input.name: self.images[self.order[: self.batch]]}
        return np.asarray(session(model).run(None, fed)[0])

    def alone(self, region: Region, site: int, change: Change, baked: bool = False) -> onnx.ModelProto:
        """The same fault as a model that stands on its own, written by the rewriter."""
        rows = {region.tensor: self.probe.rows(region.tensor).layout} if region.target == "activations" else {}
        return with_faults(self.network.model, [(Site(region.tensor, site), change)], rows, baked=baked)

    def _run(
        self, running: ort.InferenceSession, more: dict[str, Array] | list[dict[str, Array]], tensor: str | None = None
    ) -> Array:
        """The session's output, `tensor` (default: the logits), as rows (images, ...), a batch at a time."""
        split = self.probe.rows(tensor or self.network.output).split
        parts = []
        for number, first in enumerate(range(0, len(self.order), self.batch)):
            fed = {self.network.input.name: self.images[self.order[first : first + self.batch]]}
            answer = running.run(None, fed | (more[number] if isinstance(more, list) else more))[0]
            parts.append(split(np.asarray(answer), self.batch))
        rows = np.concatenate(parts)[: self.count]
        return rows if tensor else rows.reshape(self.count, -1)

    def written(self, model: onnx.ModelProto) -> Array:
        """Logits (images, classes) of a faulty model that stands on its own."""
        return self._run(session(model), {})


def newest(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in opset 26, which has BitCast."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if max(o.version for o in copy.opset_import if o.domain in ("", "ai.onnx")) < 26:
        copy = onnx.version_converter.convert_version(copy, 26)
        copy.ir_version = 10
    return copy


def is_row(probe: Probe, tensor: str) -> bool:
    """Whether the tensor holds one row an image."""
    return isinstance(probe.kinds.get(tensor), Rows)
