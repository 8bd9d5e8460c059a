"""Numbers, layouts and sizes: what is done to images before the model sees them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_room import GREY, NCHW, NHWC, PLAIN, npy, npz, png, ramp, refusal

from onnxfi.study.dataset import PRESETS, InputSpec, Preprocessing, load_dataset
from onnxfi.study.pixels import frame_of


def test_normalisation_by_hand(tmp_path: Path) -> None:
    """(255/255 - mean) / std and (0 - mean) / std of the cifar10 preset, worked out with a pocket calculator."""
    images = np.zeros((2, 4, 4, 3), np.uint8)
    images[0] = 255
    data = load_dataset([npz(tmp_path, images=images)], NCHW, PRESETS["cifar10"])
    # 0.5086 / 0.2023, 0.5178 / 0.1994, 0.5535 / 0.2010
    np.testing.assert_allclose(data.images[0, :, 0, 0], [2.5140880, 2.5967904, 2.7537313], rtol=1e-6)
    # -0.4914 / 0.2023, -0.4822 / 0.1994, -0.4465 / 0.2010
    np.testing.assert_allclose(data.images[1, :, 3, 3], [-2.4290657, -2.4182548, -2.2213930], rtol=1e-6)
    assert data.preprocessing == Preprocessing(1 / 255, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
    assert str(data.preprocessing) == "scale 0.00392157, mean 0.4914 0.4822 0.4465, std 0.2023 0.1994 0.201"


def test_every_pixel_value_is_divided_as_the_frameworks_do(tmp_path: Path) -> None:
    """Their pipelines are float32 throughout: pixel / 255, minus mean, over std; all 256 values, to the bit."""
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    data = load_dataset(
        [npy(tmp_path, pixels)], InputSpec((1, 16, 16), "float32"), Preprocessing(mean=(0.1307,), std=(0.3081,))
    )
    expected = (pixels.astype(np.float32) / np.float32(255) - np.float32(0.1307)) / np.float32(0.3081)
    np.testing.assert_array_equal(data.images[0], expected)


def test_scale_comes_before_mean_and_std(tmp_path: Path) -> None:
    data = load_dataset([npy(tmp_path, np.full((1, 4, 4), 10, np.uint8))], GREY, Preprocessing(2.0, (5.0,), (3.0,)))
    assert np.all(data.images == 5)  # (10 * 2 - 5) / 3


def test_floats_pass_through_untouched(tmp_path: Path) -> None:
    images = np.random.default_rng(0).standard_normal((3, 3, 4, 4)).astype(np.float32)
    data = load_dataset([npy(tmp_path, images)], NCHW, PLAIN)
    np.testing.assert_array_equal(data.images, images)
    assert data.preprocessing.scale == 1
    assert str(data.preprocessing) == "none"


def test_mlperf_tiny_int8_is_pixel_minus_128(tmp_path: Path) -> None:
    file = npz(tmp_path, images=np.array([0, 128, 255, 7], np.uint8).reshape(4, 1, 1))
    data = load_dataset([file], InputSpec((1, 1, 1), "int8"), Preprocessing(scale=1, mean=(128,)))
    assert data.images.ravel().tolist() == [-128, 0, 127, -121]
    assert data.images.dtype == np.int8


def test_integer_models_read_integers_as_they_are_and_rounded_results(tmp_path: Path) -> None:
    spec = InputSpec((1, 1, 1), "uint8")
    file = npz(tmp_path, images=np.array([0, 7, 255], np.uint8).reshape(3, 1, 1))
    assert load_dataset([file], spec, PLAIN).images.ravel().tolist() == [0, 7, 255]
    halves = load_dataset([file], spec, Preprocessing(scale=0.5))
    assert halves.images.ravel().tolist() == [0, 4, 128]  # 3.5 and 127.5 to the nearest even
    assert (
        "reaches 0 to 255 after preprocessing, but the model's int8 holds -128 to 127; --scale 1 --mean 128"
        in refusal(npz(tmp_path, images=np.array([[[0, 255]]], np.uint8)), spec=InputSpec((1, 1, 2), "int8"))
    )


def test_metadata_fills_what_the_caller_leaves_open(tmp_path: Path) -> None:
    spec = InputSpec((1, 4, 4), "float32", metadata=Preprocessing(scale=1.0, mean=(1.0,), std=(2.0,)))
    file = npy(tmp_path, np.full((1, 4, 4), 9, np.uint8))
    assert np.all(load_dataset([file], spec, PLAIN).images == 4)  # (9 - 1) / 2
    assert np.all(load_dataset([file], spec, Preprocessing(mean=(3.0,))).images == 3)  # (9 - 3) / 2


@pytest.mark.parametrize(
    ("dtype", "spec", "words"),
    [
        (
            "int64",
            NCHW,
            "holds int64 images and the model wants float32, so their scale cannot be guessed; give --scale",
        ),
        (
            "float32",
            InputSpec((3, 4, 4), "int8"),
            "give --scale (255 for images in 0..1, 1 to leave them as they are).",
        ),
    ],
)
def test_a_scale_that_cannot_be_guessed(tmp_path: Path, dtype: str, spec: InputSpec, words: str) -> None:
    file = npy(tmp_path, np.ones((2, 3, 4, 4), dtype))
    assert words in refusal(file, spec=spec)
    assert len(load_dataset([file], spec, Preprocessing(scale=1.0))) == 2


@pytest.mark.parametrize(
    ("pre", "words"),
    [
        (Preprocessing(scale=0.0), "--scale holds 0; give positive numbers."),
        (Preprocessing(mean=(float("nan"),)), "--mean holds nan; give finite numbers."),
        (Preprocessing(std=(1.0, 0.0, 1.0)), "--std holds 0; give positive numbers."),
        (Preprocessing(mean=(0.1, 0.2)), "--mean holds 2 numbers, but the model reads 3 channel(s); give 1 or 3."),
        (Preprocessing(resize=0), "--resize is 0; give a positive number of pixels."),
    ],
)
def test_options_that_cannot_be_meant(tmp_path: Path, pre: Preprocessing, words: str) -> None:
    assert refusal(npy(tmp_path, ramp(2, 3, 4, 4)), pre=pre) == words


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((3, 32, 32), "NCHW"),
        ((32, 32, 3), "NHWC"),
        ((None, None, 3), "NHWC"),
        ((3, None, None), "NCHW"),
        ((1, 28, 28), "NCHW"),
        ((3, 3, 3), "NCHW"),
        ((3, 3, 1), "NHWC"),
        ((16, 8, 8), "NCHW"),
        ((8, 8, 16), "NHWC"),
        ((28, 28), "NHW"),
        ((10,), "as given"),
        ((2, 3, 4, 5), "as given"),
    ],
)
def test_the_model_s_layout(shape: tuple[int | None, ...], layout: str) -> None:
    assert frame_of(shape).layout == layout


def test_any_layout_is_brought_to_the_model_s(tmp_path: Path) -> None:
    nhwc = ramp(2, 4, 4, 3).astype(np.float32)
    nchw = np.ascontiguousarray(nhwc.transpose(0, 3, 1, 2))
    for stored in (nhwc, nchw):
        file = npy(tmp_path, stored)
        np.testing.assert_array_equal(load_dataset([file], NCHW, PLAIN).images, nchw)
        np.testing.assert_array_equal(load_dataset([file], NHWC, PLAIN).images, nhwc)
    grey = ramp(2, 4, 4).astype(np.float32)
    for stored in (grey, grey[..., None], grey[:, None]):
        file = npy(tmp_path, stored)
        np.testing.assert_array_equal(load_dataset([file], GREY, PLAIN).images, grey[:, None])
        np.testing.assert_array_equal(load_dataset([file], InputSpec((4, 4), "float32"), PLAIN).images, grey)


def test_an_array_that_fits_both_ways_is_read_by_size_and_then_as_the_model_does(tmp_path: Path) -> None:
    strip = ramp(2, 1, 9, 1).astype(np.float32)
    assert load_dataset([npy(tmp_path, strip)], InputSpec((1, 1, 9), "float32"), PLAIN).images.shape == (2, 1, 1, 9)
    cube = ramp(2, 3, 3, 3).astype(np.float32)
    np.testing.assert_array_equal(
        load_dataset([npy(tmp_path, cube)], InputSpec((3, 3, 3), "float32"), PLAIN).images, cube
    )


def test_inputs_that_are_no_images_are_fed_as_given(tmp_path: Path) -> None:
    file = npy(tmp_path, np.eye(3, 5, dtype=np.float64))
    data = load_dataset([file], InputSpec((5,), "float32"), PLAIN)
    assert (data.layout, data.images.shape, data.images.dtype) == ("as given", (3, 5), np.float32)
    text = refusal(file, spec=InputSpec((None, 2, 3, 4), "float32"))
    assert text == f"{file}: array[0] has the shape 5, but the model wants ?x2x3x4; reshape the array."
    assert "--crop needs a model that reads images" in refusal(
        file, spec=InputSpec((5,), "float32"), pre=Preprocessing(crop=2)
    )


def test_wrong_channels_and_sizes_name_the_file_and_the_option(tmp_path: Path) -> None:
    signs = npz(tmp_path, images=ramp(2, 50, 50, 3))
    spec = InputSpec((32, 32, 3), "float32")
    wanted = "but the model wants 32x32 (height x width); use --resize 32."
    assert refusal(signs, spec=spec) == f"{signs}: images[0] is 50x50, {wanted}"
    assert refusal(signs) == f"{signs}: images[0] is 50x50, but the model wants 4x4 (height x width); use --resize 4."
    wide = npz(tmp_path, images=ramp(2, 30, 50, 3))
    assert refusal(wide, spec=spec).endswith("use --resize 32x32, or --resize 32 --crop 32 to keep the proportions.")
    assert "is 30x50 after --resize and --crop, but" not in refusal(wide, spec=spec)
    assert "is 32x53 after --resize and --crop, but" in refusal(wide, spec=spec, pre=Preprocessing(resize=32))
    assert refusal(wide, spec=spec, pre=Preprocessing(crop=20)).endswith("use --crop 32.")
    grey = npy(tmp_path, ramp(2, 4, 4))
    assert refusal(grey).endswith(
        "has the shape 4x4, but the model wants 3 channel(s) as 3x4x4 (NCHW); give images with that many channels."
    )


def test_a_dtype_that_cannot_be_fed(tmp_path: Path) -> None:
    assert refusal(tmp_path, spec=InputSpec((3,), "bool")).startswith(
        "The model's input is bool, but images can be fed as"
    )


def test_crop_is_from_the_centre(tmp_path: Path) -> None:
    """6 -> 4 leaves one row and column on each side."""
    images = ramp(1, 6, 6)
    data = load_dataset([npy(tmp_path, images)], GREY, Preprocessing(scale=1.0, crop=4))
    np.testing.assert_array_equal(data.images[0, 0], images[0, 1:5, 1:5])
    text = refusal(npy(tmp_path, ramp(1, 3, 6)), spec=GREY, pre=Preprocessing(crop=4))
    assert (
        "array[0] is 3x6 (height x width), smaller than --crop 4; give --resize 4 or more, or a smaller --crop." in text
    )


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_resize_is_bilinear_over_the_whole_footprint(tmp_path: Path, dtype: str) -> None:
    """Halving 0 4 8 12: each new pixel weighs the four around its centre 3:3:1, by the triangle of twice the width.

    By hand: (3*0 + 3*4 + 1*8) / 7 = 2.857 and (1*4 + 3*8 + 3*12) / 7 = 9.143; uint8 rounds to 3 and 9.
    """
    row = np.array([0, 4, 8, 12], dtype)
    file = npy(tmp_path, np.tile(row, (1, 4, 1)))
    data = load_dataset([file], InputSpec((1, 2, 2), "float32"), Preprocessing(scale=1.0, resize=2))
    expected = [3, 9] if dtype == "uint8" else [20 / 7, 64 / 7]
    np.testing.assert_allclose(data.images[0, 0], [expected, expected], rtol=1e-6)


def test_resize_keeps_proportions_unless_exact(tmp_path: Path) -> None:
    file = npy(tmp_path, ramp(1, 6, 9, 3))
    free = InputSpec((3, None, None), "float32")
    assert load_dataset([file], free, Preprocessing(resize=4)).images.shape == (1, 3, 4, 6)
    assert load_dataset([file], free, Preprocessing(resize=(4, 5))).images.shape == (1, 3, 4, 5)
    assert load_dataset([file], NCHW, Preprocessing(resize=4, crop=4)).images.shape == (1, 3, 4, 4)


def test_image_files_and_arrays_of_the_same_pixels_are_one(tmp_path: Path) -> None:
    pixels = ramp(3, 9, 12, 3)
    for number, image in enumerate(pixels):
        png(tmp_path / "folder" / f"{number}.png", image)
    pre = Preprocessing(mean=(0.5,), std=(0.25,), resize=5, crop=4)
    folder = load_dataset([tmp_path / "folder"], NCHW, pre)
    assert folder.sha256 == load_dataset([npz(tmp_path, images=pixels)], NCHW, pre).sha256
