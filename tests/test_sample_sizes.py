"""Numbers of faults of the published plans: every printed figure of the field that we know of, and p of each bit."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from onnxfi.faults.bits import Word
from onnxfi.metrics.estimate import achieved_margin, normal_deviate, sample_size
from onnxfi.metrics.prior import date23_table, from_pilot, from_weights
from onnxfi.study.classic import fault_counts

Layers = list[tuple[int, int]]
"""Of each convolution: its weights, and the elements of its input for one image."""


def vgg(widths: Sequence[int | str], size: int = 32) -> Layers:
    layers, channels = [], 3
    for width in widths:
        if isinstance(width, str):
            size //= 2
        else:
            layers.append((channels * width * 9, channels * size * size))
            channels = width
    return layers


def resnet(blocks: Sequence[int], size: int, kernel: int, shrink: int) -> Layers:
    """Basic blocks of 64 to 512 channels; the stem's kernel, and by how much stem and pooling shrink the image."""
    layers, channels = [(3 * 64 * kernel**2, 3 * size * size)], 64
    size //= shrink
    for width, depth in zip((64, 128, 256, 512), blocks, strict=True):
        for block in range(depth):
            stride = 2 if width > 64 and block == 0 else 1
            layers.append((channels * width * 9, channels * size * size))
            layers.append((width * width * 9, width * (size // stride) ** 2))
            if stride > 1:
                layers.append((channels * width, channels * size * size))
            size, channels = size // stride, width
    return layers


def mobilenet_v2(size: int, strides: Sequence[int]) -> Layers:
    """The seven stages of inverted residuals, each 1x1, depthwise 3x3, 1x1, and the last 1x1, after a stem of 32."""
    layers, channels = [], 32
    stages = ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1))
    for (grow, width, depth), first in zip(stages, strides, strict=True):
        for block in range(depth):
            hidden, stride = channels * grow, first if block == 0 else 1
            layers += [(channels * hidden, channels * size * size), (hidden * 9, hidden * size * size)]
            size = (size - 1) // stride + 1
            layers.append((hidden * width, hidden * size * size))
            channels = width
    return [*layers, (channels * 1280, channels * size * size)]


RESNET20 = np.array([432, *[2304] * 6, 4608, *[9216] * 5, 18432, *[36864] * 5, 640])  # weights of its 20 layers

# DeepVigor+ (arXiv 2410.15742), Table VI: element counts from the architectures, e = 1 %, t = 1.96, p = 0.5.
TABLE_VI: dict[str, tuple[Layers, tuple[int, int, int], tuple[int, int, int]]] = {
    "VGG-11": (
        vgg([64, 128, "pool", 256, 256, "pool", 512, 512, "pool", 512, 512]),
        (75_351, 2_141_913, 66_934),
        (74_863, 1_562_657, 71_173),
    ),
    "VGG-16": (
        vgg([64, 64, "pool", 128, 128, "pool", *[256] * 3, "pool", *[512] * 3, "pool", *[512] * 3]),
        (123_266, 3_588_834, 112_151),
        (117_992, 1_839_889, 106_513),
    ),
    "ResNet-18-C": (
        resnet((2, 2, 2, 2), size=32, kernel=3, shrink=1),
        (189_772, 5_253_096, 164_159),
        (188_644, 4_264_406, 181_911),
    ),
    "MobileNetV2": (  # for CIFAR-100, with a stem of 1x1 and padding 1, and a 1x1 convolution as classifier
        [(96, 3 * 32 * 32), *mobilenet_v2(34, (1, 2, 2, 2, 1, 1, 1)), (128_000, 1280)],
        (475_407, 8_307_671, 259_614),
        (493_871, 8_402_977, 452_650),
    ),
    "ResNet-18-I": (
        resnet((2, 2, 2, 2), size=224, kernel=7, shrink=4),
        (190_896, 5_358_315, 167_447),
        (191_205, 5_407_659, 189_325),
    ),
    "ResNet-34": (
        resnet((3, 4, 6, 3), size=224, kernel=7, shrink=4),
        (344_285, 10_031_494, 313_484),
        (344_042, 9_624_374, 340_383),
    ),
}


def test_element_counts_are_those_of_the_table() -> None:
    """VGG-11's totals as printed in the paper."""
    assert np.sum(TABLE_VI["VGG-11"][0], axis=0).tolist() == [9_217_728, 232_448]


@pytest.mark.parametrize("name", TABLE_VI)
def test_deepvigor_plus_table_vi(name: str) -> None:
    """Layer-wise, data-unaware, and the paper's own "data-aware": one bit of each weight, ten of each activation. The
    paper sums what the formula gives, unrounded, and cuts the sum off."""
    layers, *expected = TABLE_VI[name]
    for elements, bits, printed in zip(np.array(layers).T, (1, 10), expected, strict=True):
        found = [
            sample_size(32 * elements, 0.01, 1.96).sum(),
            32 * sample_size(elements, 0.01, 1.96).sum(),
            sample_size(bits * elements, 0.01, 1.96).sum(),
        ]
        assert tuple(int(total) for total in found) == printed


def published(weights: NDArray[np.int64]) -> list[int]:
    """Network-wise, layer-wise, data-unaware, data-aware: stuck-at 0 and 1 (twice the faults), e = 1 %, t = 2.58."""
    layers = [f"layer {number}" for number in range(len(weights))]
    each = np.repeat(2 * weights, 32)
    single = list(range(len(each)))
    plans = (
        fault_counts(64 * weights, ["network"] * len(weights), 0.01, 2.58),
        fault_counts(64 * weights, layers, 0.01, 2.58),
        fault_counts(each, single, 0.01, 2.58),
        fault_counts(each, single, 0.01, 2.58, np.tile(date23_table(), len(weights))),
    )
    return [int(plan.sum()) for plan in plans]


def test_authors_table_of_resnet20() -> None:
    """Totals of fault_injection/number_of_samples/resnet20 in GabrieleGavarini/ExhaustiveFaultInjection. Their
    N_layers.csv gives layer 11 9,226 weights; it has 9,216."""
    slip = RESNET20.copy()
    slip[11] = 9226
    assert published(slip) == [16_628, 307_650, 4_885_760, 201_079]
    assert RESNET20.sum() == 268_336  # as the published fault lists count them
    assert published(RESNET20)[1:3] == [307_649, 4_885_632]


def test_authors_table_of_mobilenet_v2() -> None:
    """The same folder, mobilenet-v2."""
    layers = [(864, 0), *mobilenet_v2(32, (1,) * 7), (12_800, 0)]
    assert published(np.array([weights for weights, _ in layers])) == [16_644, 838_988, 14_894_400, 598_383]


def test_authors_table_bit_by_bit() -> None:
    """Three rows of resnet20/n_tuning_scenario_1.csv: layers 0, 7 and 18, bits 31 to 23 and each of the others."""
    rows = {
        432: [122, 821, 29, 29, 30, 179, 583, 248, 23] + [7] * 23,
        4608: [140, 5931, 30, 30, 31, 221, 1502, 334, 24] + [7] * 23,
        36864: [142, 13574, 30, 30, 31, 226, 1751, 345, 24] + [7] * 23,
    }
    for weights, row in rows.items():
        found = fault_counts([2 * weights] * 32, list(range(32)), 0.01, 2.58, date23_table())
        assert found[::-1].tolist() == row


def test_published_list_of_resnet20() -> None:
    """dnn-benchmarks' list: 16,625 faults for the network, 16,627 rows over its 20 layers."""
    assert round(float(sample_size(64 * RESNET20.sum(), 0.01, 2.58))) == 16_625
    found = fault_counts(64 * RESNET20, ["network"] * 20, 0.01, 2.58)
    assert found.sum() == 16_627
    assert found.tolist() == [27, *[143] * 6, 285, *[571] * 5, 1142, *[2284] * 5, 40]


@pytest.mark.shared
def test_published_list_of_resnet20_layer_by_layer(shared_data: Path) -> None:
    with (shared_data / "fault_lists" / "ResNet20_FL.csv").open(newline="") as file:
        rows = [row["Layer"] for row in csv.DictReader(file)]
    counts = [rows.count(layer) for layer in dict.fromkeys(rows)]
    assert counts == fault_counts(64 * RESNET20, ["network"] * 20, 0.01, 2.58).tolist()


def test_normal_deviates() -> None:
    """From any table of the normal distribution."""
    assert normal_deviate(0.95) == pytest.approx(1.959964, abs=1e-6)
    assert normal_deviate(0.99) == pytest.approx(2.575829, abs=1e-6)


def test_the_margin_achieved_inverts_the_sample_size() -> None:
    for size in (500, 17_173_504):
        n = sample_size(size, 0.01, 2.58, 0.3)
        assert float(achieved_margin(n, size, 2.58, 0.3)) == pytest.approx(0.01)
    assert float(achieved_margin(100, 100, 2.58)) == 0  # all were drawn
    assert float(sample_size(1, 0.01, 2.58)) == 1


def test_no_stratum_is_left_without_a_fault() -> None:
    """Of 384 faults for 1,000,001 the share of a single one is nothing."""
    assert fault_counts([1_000_000, 1], ["all", "all"], 0.05, 1.96).tolist() == [384, 1]


def test_p_from_weights_by_hand() -> None:
    """uint8 words 0, 1, 2, 3: flipping bit b always moves by 2^b, and the words' range is 3: bits 2 to 7 are outliers,
    bits 0 and 1, the nearest and the farthest of the others, get the floor and 0.5."""
    p = from_weights([np.array([0, 1], np.uint8), np.array([[2, 3]], np.uint8)], Word("uint8"))
    assert p.tolist() == [1e-4] + [0.5] * 7
    # 1.0 is 0x3F800000: bit 30 leads to Inf, bit 23 to 0.5, bit 31 to -1, -1.0 likewise. The range is 2, so that the
    # sign (2 away) counts; bit 24 leads to 0.25 (0.75 away): 0.5 * 0.75 / 2, less the nearly 0 of bit 0.
    p = from_weights([np.array([1.0, -1.0], np.float32)], Word("float32"))
    assert p[[31, 30, 0]].tolist() == [0.5, 0.5, 1e-4]
    assert p[24] == pytest.approx(0.5 * 0.75 / 2, abs=1e-6)
    # Words that are all equal have no range: nothing is known, so nothing is saved.
    assert from_weights([np.zeros(3, np.float32)], Word("float32")).tolist() == [0.5] * 32


@pytest.mark.shared
def test_p_from_weights_of_resnet20(shared_data: Path) -> None:
    """What the recipe gives on the released weights, worked out apart from this code and without a floor: p of bits 25,
    26 and 31 to three digits, and 792,088 faults where bit 30 is the only outlier."""
    torch = pytest.importorskip("torch")
    stored = torch.load(shared_data / "weights" / "cifar10_resnet20-12fca82f.th", map_location="cpu", weights_only=True)
    tensors = [value.numpy() for value in stored["state_dict"].values() if value.ndim >= 2]
    p = from_weights(tensors, Word("float32"))
    assert p[[25, 26, 31]].round(3).tolist() == [0.5, 0.126, 0.111]
    assert (p == 1e-4).tolist() == [True] * 15 + [False] * 17
    p[:15] = p[15] * 0.5 ** np.arange(15, 0, -1)  # a bit of the mantissa moves half as far as the next
    n = sample_size(np.repeat(2 * RESNET20, 32), 0.01, 2.58, np.tile(p, 20))
    assert int(np.rint(n).sum()) == 792_088


def test_p_from_a_pilot() -> None:
    """(x + 1/2)/(n + 1), never above 0.5 nor below 0.0001."""
    assert from_pilot([0, 3, 19, 0], [19, 19, 19, 10**6]).tolist() == [0.025, 0.175, 0.5, 0.0001]
