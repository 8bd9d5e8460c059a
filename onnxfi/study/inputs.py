"""What a network says about the images that it reads: shape, dtype, and the preprocessing in its metadata."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, replace

from onnxfi.errors import DataError
from onnxfi.graph.network import Network
from onnxfi.study.dataset import PRESETS, Dataset, InputSpec, Preprocessing, load_dataset, synthetic_dataset
from onnxfi.study.labels import relabelled
from onnxfi.study.settings import Data

_SCALE, _MEAN, _STD = "onnxfi.scale", "onnxfi.mean", "onnxfi.std"


def read_images(network: Network, data: Data, seed: int) -> Dataset:
    """The images that `data` names, as `network` reads them; made-up ones where it says so.

    Raises DataError: no images named, or images that cannot be fed to this network.
    """
    spec = input_spec(network)
    if data.synthetic is not None:
        if data.paths:
            raise DataError("--synthetic makes images up, and --data names some; give one of the two.")
        return synthetic_dataset(data.synthetic, spec, seed, _asked(data))
    if not data.paths:
        raise DataError(
            f"No images are given for {network.path.name}: give --data with the images it was made for, "
            "or --synthetic 100 to try it on noise."
        )
    outputs = class_count(network)
    dataset = load_dataset(data.paths, spec, _asked(data), images=data.images, seed=seed, classes=outputs)
    return relabelled(dataset, data, outputs)


def input_spec(network: Network) -> InputSpec:
    """What the network reads, with the preprocessing of its metadata where a converter left it.

    Raises DataError for metadata under our names that cannot be read.
    """
    return InputSpec(
        shape=network.input.shape[1:],
        dtype=network.input.dtype,
        metadata=_recorded(network.metadata, str(network.path)),
    )


def class_count(network: Network) -> int | None:
    """The number of classes, where the model's output says so."""
    shape = network.model.graph.output[0].type.tensor_type.shape
    sizes = [dim.dim_value for dim in shape.dim[1:]]
    return math.prod(sizes) if sizes and all(size > 0 for size in sizes) else None


def _asked(data: Data) -> Preprocessing:
    """The preset's fields, and before them those that were given."""
    given = {field.name: getattr(data, field.name) for field in fields(Preprocessing)}
    base = PRESETS[data.preset] if data.preset else Preprocessing()
    return replace(base, **{name: value for name, value in given.items() if value is not None})


def _recorded(metadata: Mapping[str, str], model: str) -> Preprocessing | None:
    """`onnxfi.scale`, `onnxfi.mean`, `onnxfi.std`: numbers with commas between them."""
    numbers: dict[str, tuple[float, ...]] = {}
    for key in (_SCALE, _MEAN, _STD):
        if key in metadata:
            try:
                numbers[key] = tuple(float(part) for part in metadata[key].split(","))
            except ValueError as error:
                raise DataError(
                    f"{model} has metadata {key} {metadata[key]!r}, not a list of numbers; correct it, or give "
                    "--scale, --mean and --std."
                ) from error
    if not numbers:
        return None
    scale = numbers.get(_SCALE, (None,))[0]
    return Preprocessing(scale=scale, mean=numbers.get(_MEAN), std=numbers.get(_STD))
