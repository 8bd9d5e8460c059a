"""Where an index points: PyTorch's, Keras' and the file's own view of one weight, on arrays numpy turned for us."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxfi.faults.layout import Layout


def everything(layout: Layout) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The stored word of every index, in the layout's own shape."""
    index = np.stack(np.indices(layout.shape), axis=-1).reshape(-1, len(layout.shape))
    return layout.sites(index).reshape(layout.shape)


# FORMATS of the lists: PyTorch (o, i, h, w) is Keras (h, w, i, o); (o, i) is (i, o); a 1-D convolution likewise.
@pytest.mark.parametrize(
    ("shape", "axes"),
    [((4, 3, 2, 5), (2, 3, 1, 0)), ((4, 3), (1, 0)), ((4, 3, 7), (2, 1, 0)), ((8, 1, 3, 3), (2, 3, 1, 0))],
)
def test_keras_turns_the_axes(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    words = np.arange(np.prod(shape)).reshape(shape)
    assert np.array_equal(everything(Layout.plain(shape)), words)
    assert np.array_equal(everything(Layout.plain(shape).keras()), words.transpose(axes))


def test_a_published_pair_of_rows() -> None:
    # Injection 0 of ResNet20_FL.csv, (3, 0, 2, 1) of conv1 (16, 3, 3, 3), is (2, 1, 0, 3) in ResNet20_TF_FL.csv.
    weight = Layout.plain((16, 3, 3, 3))
    assert weight.sites(np.array([[3, 0, 2, 1]])) == weight.keras().sites(np.array([[2, 1, 0, 3]])) == 3 * 27 + 7
    # And of MobileNetV2, a depthwise convolution kept as one in groups: (24, 0, 2, 2) is (2, 2, 0, 24).
    weight = Layout.plain((32, 1, 3, 3))
    assert weight.sites(np.array([[24, 0, 2, 2]])) == weight.keras().sites(np.array([[2, 2, 0, 24]]))


def test_a_true_depthwise_layer_has_channel_and_multiplier() -> None:
    # (c * M + m, 0, h, w) is (h, w, c, m); here C = 4, M = 2.
    layout = Layout.plain((8, 1, 3, 5)).depthwise(4)
    assert layout.shape == (3, 5, 4, 2)
    for h, w, c, m in ((0, 0, 0, 0), (2, 4, 3, 1), (1, 2, 2, 0)):
        assert layout.sites(np.array([[h, w, c, m]])) == ((c * 2 + m) * 3 + h) * 5 + w


@pytest.mark.parametrize(
    "layout",
    [
        Layout.plain((4, 3, 2, 5)),
        Layout.plain((4, 3, 2, 5)).keras(),
        Layout.plain((8, 1, 3, 5)).depthwise(4),
        Layout.plain((1, 1, 6)),
        Layout.plain((5, 6)).transposed((1, 0)),
    ],
)
def test_words_lead_back_to_their_index(layout: Layout) -> None:
    index = np.stack(np.indices(layout.shape), axis=-1).reshape(-1, len(layout.shape))
    sites = layout.sites(index)
    assert sorted(sites.tolist()) == list(range(int(np.prod(layout.shape))))
    assert np.array_equal(layout.indices(sites), index)


def test_what_is_inside() -> None:
    layout = Layout.plain((4, 3))
    assert layout.holds(np.array([[3, 2], [4, 0], [0, 3], [-1, 0]])).tolist() == [True, False, False, False]
    assert layout.holds(np.array([[0, 0, 0]])).tolist() == [False]
