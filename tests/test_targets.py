"""From a question to a fault space, over the corpus: which words, which layers read them, which channel they are of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from corpus import CASES, images, save
from onnx import numpy_helper

from onnxfi.bundled import model_path
from onnxfi.engine.prepare import look
from onnxfi.engine.probe import Probe
from onnxfi.errors import FaultError
from onnxfi.faults.bits import Word
from onnxfi.graph.channels import Channels, activation_axis, parameter_channels
from onnxfi.graph.network import Network
from onnxfi.study.settings import Target
from onnxfi.study.targets import Targets, chosen_bits, find_targets

STUDIED = sorted(name for name, case in CASES.items() if not case.tags & {"refused", "mixes-rows"})


def network_of(name: str, folder: Path) -> Network:
    case = CASES[name]
    return Network.load(save(case, folder), output=case.output)


@pytest.fixture(scope="module")
def bundled() -> tuple[Network, Probe]:
    return look(Network.load(model_path()))


@pytest.mark.parametrize(
    ("text", "dtype", "bits"),
    [
        # IEEE 754: sign, exponent and mantissa of 1+8+23, 1+5+10 and 1+8+7 bits.
        ("30", "float32", (30,)),
        ("23-25, sign", "float32", (31, 25, 24, 23)),
        ("25-23", "float32", (25, 24, 23)),
        ("exponent", "float32", (30, 29, 28, 27, 26, 25, 24, 23)),
        ("exponent", "float16", (14, 13, 12, 11, 10)),
        ("exponent,sign", "bfloat16", (15, 14, 13, 12, 11, 10, 9, 8, 7)),
        ("mantissa", "bfloat16", (6, 5, 4, 3, 2, 1, 0)),
        ("sign", "int8", (7,)),
        ("sign", "uint8", ()),
        ("exponent", "int8", ()),
        ("30", "int8", ()),
        (None, "uint8", (7, 6, 5, 4, 3, 2, 1, 0)),
    ],
)
def test_bits(text: str | None, dtype: str, bits: tuple[int, ...]) -> None:
    assert chosen_bits(text, dtype) == bits


@pytest.mark.parametrize("text", ["", "top", "-1", "3-", "1;2", "0x1e"])
def test_bits_that_are_none(text: str) -> None:
    with pytest.raises(FaultError, match="--bits has"):
        chosen_bits(text, "float32")


def test_the_words_that_layers_read(bundled: tuple[Network, Probe]) -> None:
    """A block's input is read by its first convolution and by its shortcut: one tensor, counted once."""
    targets = find_targets(*bundled, Target(kind="activations"))
    names = {layer.index: layer.id for layer in targets.layers}
    readers = [[names[index] for index in indices] for indices in targets.readers.values()]
    assert ["layer2.0.conv1", "layer2.0.shortcut.0"] in readers
    assert sorted(name for members in readers for name in members) == sorted(names.values())
    assert len(targets.space.regions) == len(readers) == 8
    shortcut = next(index for index, name in names.items() if name == "layer2.0.shortcut.0")
    first = next(index for index, name in names.items() if name == "layer2.0.conv1")
    assert targets.home("activations", shortcut) == first


def test_globs_choose_layers(bundled: tuple[Network, Probe]) -> None:
    targets = find_targets(*bundled, Target(kind="weights", layers=("layer3*", "conv1")))
    assert [layer.id for layer in targets.layers] == [
        "conv1",
        "layer3.0.conv1",
        "layer3.0.conv2",
        "layer3.0.shortcut.0",
    ]
    assert {region.layer for region in targets.space.regions} == {layer.index for layer in targets.layers}


def test_a_glob_for_the_second_reader_alone(bundled: tuple[Network, Probe]) -> None:
    targets = find_targets(*bundled, Target(kind="activations", layers=("*shortcut.0",)))
    assert len(targets.space.regions) == 2
    for layer in targets.layers:
        assert targets.home("activations", layer.index) == layer.index


def test_parameters_all_adds_what_follows(bundled: tuple[Network, Probe]) -> None:
    targets = find_targets(*bundled, Target(kind="weights", parameters="all"))
    kinds = {region.kind for region in targets.space.regions}
    assert kinds == {"weight", "bias", "scale", "shift", "mean", "variance"}


@pytest.mark.parametrize("kind", ["input", "output", "mac"])
def test_targets_survive_plain_values(bundled: tuple[Network, Probe], kind: str) -> None:
    import json

    targets = find_targets(*bundled, Target(activation=kind))  # type: ignore[arg-type]
    kept = json.loads(json.dumps([targets.regions(), targets.names()]))
    again = Targets.restore(targets.space.fault_model, *kept)
    assert again.space.regions == targets.space.regions
    assert (again.layers, again.channels, again.outputs) == (targets.layers, targets.channels, targets.outputs)
    assert again.readers == targets.readers


def test_mac_counts_operands(bundled: tuple[Network, Probe]) -> None:
    """By hand: conv1 has 16x28x28 outputs of 1x3x3 products, the last layer 10 of 64."""
    targets = find_targets(*bundled, Target(kind="activations", activation="mac"))
    sizes = {targets.layers[region.layer].id: (region.elements, region.operands) for region in targets.space.regions}
    assert sizes["conv1"] == (16 * 28 * 28, 9)
    assert sizes["linear"] == (10, 64)


def test_channels_along_an_axis() -> None:
    index = np.arange(24)
    for axis in range(3):
        channels = Channels.along((2, 3, 4), axis)
        np.testing.assert_array_equal(channels.of(index), np.unravel_index(index, (2, 3, 4))[axis])
    assert Channels.along((2, 3), 2) == Channels(1, ())


@pytest.mark.parametrize("name", STUDIED)
def test_a_wrong_weight_makes_its_own_channel_wrong(name: str, tmp_path: Path) -> None:
    """Measured: change one stored word, run the model, and see which channels of the layer's output change."""
    network = network_of(name, tmp_path)
    fed = images(CASES[name], network.fixed_batch or 3)
    for layer in network.layers:
        if layer.weight is None or layer.weight.node != layer.node or len(layer.weight.readers) > 1:
            continue  # a shared weight makes the input of its second reader wrong, too
        channels = parameter_channels(network, layer, layer.weight)
        if channels.count == 1:
            continue
        axis = activation_axis(network, layer, layer.output)
        golden = output_of(network.model, network.input.name, layer.output, fed)
        assert channels.count == golden.shape[axis]
        for index in np.random.default_rng(0).choice(layer.weight.elements, 3):
            model = onnx.ModelProto()
            model.CopyFrom(network.model)
            spoil(model, layer.weight.tensor, int(index))
            faulty = output_of(model, network.input.name, layer.output, fed)
            wrong = np.any(np.moveaxis(faulty != golden, axis, 0).reshape(channels.count, -1), axis=1)
            assert set(np.flatnonzero(wrong)) <= {int(channels.of(np.array([index]))[0])}, (layer.id, index)


def output_of(model: onnx.ModelProto, image: str, tensor: str, fed: np.ndarray) -> np.ndarray:
    """The tensor's value, with nothing optimised, so that other channels keep their bits."""
    asked = onnx.ModelProto()
    asked.CopyFrom(model)
    del asked.graph.output[:]
    asked.graph.output.append(onnx.ValueInfoProto(name=tensor))
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(asked.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run([tensor], {image: fed})[0])


def spoil(model: onnx.ModelProto, tensor: str, index: int) -> None:
    """Flip the highest mantissa bit, or of an integer the bit below the top, of one stored word."""
    stored = next(t for t in model.graph.initializer if t.name == tensor)
    values = numpy_helper.to_array(stored).copy()
    word = Word(str(values.dtype))
    words = word.words(values.reshape(-1))
    words[index] ^= words.dtype.type(1 << ((word.mantissa or word.width - 1) - 1))
    stored.CopyFrom(numpy_helper.from_array(word.values(words).reshape(values.shape), tensor))
