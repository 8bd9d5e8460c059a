"""Layer ids: one readable name a layer, the same whenever the same model is exported again.

In this order: our own metadata (`onnxfi.layers`, which our converter writes), the weight's initializer name where it
is the layer's alone and no exporter made it up, the module scope, the node's name, the op and its ordinal. Duplicates
get `#2`, `#3`. Ids are data for people and files: nothing opens a file by them, and characters that do not print are
escaped.
"""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from onnx import ModelProto, NodeProto

METADATA_KEY = "onnxfi.layers"
"""Key in the model's metadata: a JSON object, initializer name -> layer id."""

SCOPES_KEY = "pkg.torch.onnx.name_scopes"

UNSHARED = "#"
"""What parts an initializer's name from its reader's in a clone that `unshare` made."""

_LONG = 2000  # no exporter writes such names, and patterns take their time over them

_GENERATED = re.compile(
    r"(onnx::.*|_?v?\d+|val_\d+|(const|initializer|constant|param|parameter|tensor|lifted_tensor|new|einsum|w|b)[_@]*\d*"
    r"|const_\w*?_+\d+|const_fold_opt_+\d+|.*/Constant(_\d+)?_output_\d+|.*einsum\d{6,}.*|.*_output_\d+)(:\d+)?",
    re.IGNORECASE,
)
_SUFFIX = re.compile(
    r"([._/](weights?|kernel)|[._]w)(_\d+|_q|_v|_g|_int8|_quantized|_fused_bn|_orig)*$|/depthwise_kernel$"
)
_TF_TAIL = re.compile(
    r"(/(Conv2D|Conv2DTranspose|conv2d_transpose|convolution|depthwise|DepthwiseConv2dNative|separable_conv2d|MatMul"
    r"|BiasAdd|Tensordot|ReadVariableOp|ReadVariable|merged_input|kernel|weights?|Cast|resource))+$"
)
_TF_HEAD = re.compile(r"^(StatefulPartitionedCall/)+")


@dataclass(frozen=True)
class Nameable:
    """What the id of one layer may be made from."""

    op: str
    node: NodeProto
    weight: str | None
    """The initializer of the layer's weight; None where it has none."""
    own: bool
    """Whether this layer alone reads that initializer."""
    named: bool
    """Whether the node's name is the file's, not ours."""


def layer_ids(model: ModelProto, layers: Sequence[Nameable]) -> tuple[list[str], str | None]:
    """One unique id a layer, in their order, and a note where the model's own metadata could not be used."""
    given, note = _metadata(model)
    bases = Counter(layer.weight.split(UNSHARED)[0] for layer in layers if layer.weight is not None)
    stems = Counter(stem(w) for w in bases)
    ordinal: Counter[str] = Counter()
    wished: list[str] = []
    for layer in layers:
        ordinal[layer.op] += 1
        base = layer.weight.split(UNSHARED)[0] if layer.weight is not None else ""
        name = given.get(base, "")
        if not name and base and layer.own and bases[base] == 1 and stems[stem(base)] == 1:
            name = stem(base)
        name = name or _scope(layer.node) or (_from_node(layer.node.name) if layer.named else "")
        wished.append(_printable(name or f"{layer.op.lower()}_{ordinal[layer.op]}"))
    return _distinct(wished), note


def _metadata(model: ModelProto) -> tuple[Mapping[str, str], str | None]:
    text = next((p.value for p in model.metadata_props if p.key == METADATA_KEY), None)
    if text is None:
        return {}, None
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict) or not all(isinstance(v, str) for v in given.values()):
        return {}, f"the model's metadata {METADATA_KEY!r} is no JSON object of names: layer ids come from the graph"
    return given, None


def stem(initializer: str) -> str:
    """The initializer's name less what says that it is a weight; empty where the name was made up by an exporter."""
    if len(initializer) > _LONG:
        return initializer
    if _GENERATED.fullmatch(initializer):
        return ""
    return _plain(_SUFFIX.sub("", re.sub(r":\d+$", "", initializer)))


def _plain(name: str) -> str:
    """A TensorFlow path less its op names and wrappers."""
    if len(name) > _LONG:
        return name
    return _TF_HEAD.sub("", _TF_TAIL.sub("", re.sub(r":\d+$", "", name)))


def _scope(node: NodeProto) -> str:
    """The innermost module that PyTorch's exporter noted on the node: the last but one of its scopes."""
    text = next((p.value for p in node.metadata_props if p.key == SCOPES_KEY), "")
    try:
        scopes = ast.literal_eval(text) if text and len(text) <= _LONG else []
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return ""
    if not isinstance(scopes, list) or len(scopes) < 2 or not isinstance(scopes[-2], str):
        return ""
    return scopes[-2]


def _from_node(name: str) -> str:
    """A node's name as an id: `/layer1/layer1.0/conv1/Conv` (TorchScript) is `layer1.0.conv1`."""
    if not name.startswith("/"):
        return _plain(name)
    parts = name.strip("/").split("/")
    modules: list[str] = []
    for part in parts[:-1]:
        if modules and part.startswith(modules[-1] + "."):
            modules.pop()
        modules.append(part)
    return ".".join(modules) or parts[-1]


def _printable(name: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in name)


def _distinct(names: Sequence[str]) -> list[str]:
    """The names, those that come again with `#2`, `#3` behind; never one that another layer wished for itself."""
    taken = set(names)
    seen: set[str] = set()
    result: list[str] = []
    for name in names:
        unique, n = name, 2
        while name in seen and unique in taken:
            unique, n = f"{name}#{n}", n + 1
        seen.add(name)
        taken.add(unique)
        result.append(unique)
    return result
