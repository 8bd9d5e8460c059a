"""Giving each reader of a shared stored tensor a copy of its own.

Exporters merge equal initializers without a word, so one stored tensor may feed many layers. Deployed, that is one
place in memory and one fault hits them all; two exports of one network compare only where it is split.
"""

from __future__ import annotations

from onnx import ModelProto, NodeProto, TensorProto

from onnxfi.graph.naming import UNSHARED
from onnxfi.graph.tidy import name_nodes, prune, sort_nodes
from onnxfi.graph.uses import Use, uses
from onnxfi.graph.wiring import Wiring


def unshare(model: ModelProto, shared: dict[str, tuple[str, ...]]) -> None:
    """Split each initializer of `shared` (name -> its readers): the first reader keeps it, the others get a clone.

    A clone is named `NAME#reader`; nodes on the way (Identity, Transpose, DequantizeLinear) are cloned with it.
    """
    for name in shared:
        wiring = Wiring(model.graph)
        ways: dict[str, list[Use]] = {}
        for use in uses(wiring, name):
            ways.setdefault(use.node.name, []).append(use)
        for reader in list(ways)[1:]:
            _clone(model, wiring, wiring.initializer[name], reader, ways[reader])
    name_nodes(model)
    sort_nodes(model)
    prune(model)


def _clone(model: ModelProto, wiring: Wiring, tensor: TensorProto, reader: str, ways: list[Use]) -> None:
    copy = model.graph.initializer.add()
    copy.CopyFrom(tensor)
    copy.name = f"{tensor.name}{UNSHARED}{reader}"
    cloned: dict[str, str] = {tensor.name: copy.name}
    for way in ways:
        for step in way.path:
            node = wiring.node[step]
            if node.output[0] in cloned:
                continue
            twin: NodeProto = model.graph.node.add()
            twin.CopyFrom(node)
            twin.name = f"{node.name}{UNSHARED}{reader}"
            for i, read in enumerate(twin.input):
                twin.input[i] = cloned.get(read, read)
            for i, made in enumerate(twin.output):
                if made:
                    cloned[made] = twin.output[i] = f"{made}{UNSHARED}{tensor.name}{UNSHARED}{reader}"
        way.node.input[way.slot] = cloned[way.node.input[way.slot]]
