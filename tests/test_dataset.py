"""Files joined, images chosen, and the record that comes out."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from data_room import GREY, NCHW, PLAIN, npy, npz, ramp, refusal

from onnxfi.errors import DataError
from onnxfi.study.dataset import PRESETS, Dataset, InputSpec, Preprocessing, choose, load_dataset, synthetic_dataset


def test_files_are_joined_in_order(tmp_path: Path) -> None:
    first = npz(tmp_path, "a.npz", images=ramp(2, 4, 4, 3), labels=[0, 1], classes=["cat", "dog"], names=["p", "q"])
    second = npz(tmp_path, "b.npz", images=ramp(1, 3, 4, 4), labels=[2], filenames=["r"])
    data = load_dataset([first, str(second)], NCHW, PLAIN, classes=4)
    assert data.labels is not None
    assert data.labels.tolist() == [0, 1, 2]
    assert data.classes == ("cat", "dog", "2", "3")
    assert data.names == ("p", "q", "r")
    np.testing.assert_array_equal(data.images[2:], load_dataset([second], NCHW, PLAIN).images)


def test_files_that_do_not_go_together(tmp_path: Path) -> None:
    first = npz(tmp_path, "a.npz", images=ramp(2, 4, 4, 3), labels=[0, 1], classes=["cat", "dog"])
    bare = npz(tmp_path, "b.npz", images=ramp(2, 4, 4, 3))
    assert refusal(first, bare).startswith(f"{bare} has no labels, but {first} has; give ")
    other = npz(tmp_path, "c.npz", images=ramp(2, 4, 4, 3), labels=[0, 1], classes=["cat", "eel"])
    assert refusal(first, other).startswith(f"{other} calls class 1 'eel', but the files before it call it 'dog';")
    floats = npz(tmp_path, "d.npz", images=np.ones((2, 4, 4, 3)), labels=[0, 1])
    assert "which are scaled differently; give --scale" in refusal(first, floats)
    assert len(load_dataset([first, floats], NCHW, Preprocessing(scale=1.0))) == 4
    small, large = npy(tmp_path, ramp(1, 4, 4, 3), "e.npy"), npy(tmp_path, ramp(1, 5, 5, 3), "f.npy")
    text = refusal(small, large, spec=InputSpec((3, None, None), "float32"))
    assert text.startswith(f"{large}: array[0] has the shape 3x5x5, but {small}: array[0] 3x4x4; use --resize")


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    assert refusal() == "No images are given; name an .npz, an .npy, an image file or a folder."
    assert refusal(tmp_path / "no.npz").startswith(f"{tmp_path / 'no.npz'} does not exist; give an .npz,")
    assert refusal(tmp_path).startswith(f"{tmp_path} holds no images (.png")
    (tmp_path / "images.txt").touch()
    assert refusal(tmp_path / "images.txt").startswith(f"{tmp_path / 'images.txt'} is none of .npz, .npy, image file")


def _labelled(folder: Path) -> Path:
    """60 images of class 0, 30 of class 1, 10 of class 2, shuffled."""
    labels = np.random.default_rng(1).permutation(np.repeat([0, 1, 2], [60, 30, 10]))
    return npz(folder, images=ramp(100, 4, 4, 3), labels=labels, filenames=[str(i) for i in range(100)])


def test_a_subset_is_proportional_in_order_and_repeatable(tmp_path: Path) -> None:
    file = _labelled(tmp_path)
    whole = load_dataset([file], NCHW, PLAIN)
    some = load_dataset([file], NCHW, PLAIN, images=20, seed=5)
    assert some.labels is not None
    assert whole.labels is not None
    assert np.bincount(some.labels).tolist() == [12, 6, 2]  # 20 * 60, 30 and 10 %
    rows = [int(name) for name in some.names or ()]
    assert rows == sorted(rows)
    np.testing.assert_array_equal(some.images, whole.images[rows])
    np.testing.assert_array_equal(some.labels, whole.labels[rows])
    assert some.source == "data.npz (images, labels): 100 images; 20 of them, seed 5"
    assert some.sha256 == load_dataset([file], NCHW, PLAIN, images=20, seed=5).sha256
    assert some.sha256 != load_dataset([file], NCHW, PLAIN, images=20, seed=6).sha256
    assert load_dataset([file], NCHW, PLAIN, images=100, seed=6).sha256 == whole.sha256


@pytest.mark.parametrize("count", [1, 7, 33, 99])
def test_every_share_is_within_one_of_proportional(count: int) -> None:
    labels = np.random.default_rng(2).integers(0, 9, 100)
    rows = choose(100, labels, count, 3)
    assert len(set(rows.tolist())) == count
    taken, all_ = np.bincount(labels[rows], minlength=9), np.bincount(labels, minlength=9)
    assert np.all(np.abs(taken - all_ * count / 100) < 1)


def test_classes_that_tie_are_drawn_not_taken_in_order() -> None:
    """One image a class: 10 of 50 must not be the first ten classes."""
    assert choose(50, np.arange(50), 10, 0).tolist() != list(range(10))
    means = [choose(50, np.arange(50), 10, seed).mean() for seed in range(200)]
    assert abs(np.mean(means) - 24.5) < 1.5  # 24.5 is fair; standard error 4.1 / sqrt(200) = 0.29


def test_the_draw_is_frozen() -> None:
    """Recorded when written (NumPy 2.4): other numbers would be another study."""
    assert choose(1000, None, 5, 0).tolist() == [267, 567, 699, 732, 857]
    made_up = synthetic_dataset(2, GREY, 0).images.ravel()
    np.testing.assert_allclose(made_up[:3], [-0.3625903, -0.41597474, 0.9548649], rtol=1e-6)


def test_more_images_than_there_are(tmp_path: Path) -> None:
    file = npy(tmp_path, ramp(2, 4, 4, 3))
    assert refusal(file, images=3) == f"--images is 3, but {file} holds 2 images; give 1 to 2."
    assert refusal(file, images=0) == f"--images is 0, but {file} holds 2 images; give 1 to 2."
    assert refusal(file, images=1, seed=-1) == "The seed is -1; give a whole number from 0 to 2**64 - 1."


def test_the_record_is_read_only_contiguous_and_named_by_its_bytes(tmp_path: Path) -> None:
    data = load_dataset([npz(tmp_path, images=ramp(2, 4, 4, 3), labels=[1, 0])], NCHW, PLAIN)
    assert data.images.flags.c_contiguous
    for array in (data.images, data.labels):
        assert array is not None
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    text = (
        b"float32 (2, 3, 4, 4)\n"
        + data.images.astype("<f4").tobytes()
        + b"\nlabels "
        + np.array([1, 0], "<i8").tobytes()
    )
    assert data.sha256 == hashlib.sha256(text).hexdigest()
    assert not data.synthetic
    assert len(data) == 2


def test_blocks_leave_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = _labelled(tmp_path)
    whole = load_dataset([file, file], NCHW, PLAIN, images=77)
    monkeypatch.setattr("onnxfi.study.dataset._BLOCK", 150)
    assert load_dataset([file, file], NCHW, PLAIN, images=77).sha256 == whole.sha256


def test_synthetic_images() -> None:
    data = synthetic_dataset(200, InputSpec((3, 8, 8), "float32"), 1)
    assert data.synthetic
    assert data.labels is None
    assert data.source == "200 synthetic images, seed 1"
    assert abs(float(data.images.mean())) < 0.02  # standard error 1 / sqrt(38400) = 0.005
    assert abs(float(data.images.std()) - 1) < 0.02
    assert data.sha256 == synthetic_dataset(200, InputSpec((3, 8, 8), "float32"), 1).sha256
    assert data.sha256 != synthetic_dataset(200, InputSpec((3, 8, 8), "float32"), 2).sha256
    tiny: Dataset = synthetic_dataset(500, InputSpec((4, 4), "int8"), 1)
    assert (tiny.images.dtype, tiny.images.min(), tiny.images.max()) == (np.int8, -128, 127)
    wide = synthetic_dataset(500, InputSpec((4, 4), "int64"), 1)
    assert (wide.images.dtype, wide.images.min(), wide.images.max()) == (np.int64, 0, 255)
    with pytest.raises(DataError, match=r"input 3x\?x\? leaves a size free; give --resize HEIGHTxWIDTH, or "):
        synthetic_dataset(1, InputSpec((3, None, None), "float32"), 0)
    with pytest.raises(DataError, match="0 synthetic images are asked for"):
        synthetic_dataset(0, GREY, 0)


@pytest.mark.parametrize(
    ("shape", "asked", "made"),
    [
        ((3, None, None), Preprocessing(resize=(48, 192)), (3, 48, 192)),
        ((None, None, 3), Preprocessing(resize=256, crop=224), (224, 224, 3)),
        ((None, 20), Preprocessing(resize=8), (8, 20)),
        ((1, 28, 28), Preprocessing(resize=32), (1, 28, 28)),
    ],
)
def test_synthetic_images_of_a_size_that_the_model_leaves_free(
    shape: tuple[int | None, ...], asked: Preprocessing, made: tuple[int, ...]
) -> None:
    assert synthetic_dataset(2, InputSpec(shape, "float32"), 0, asked).images.shape == (2, *made)


@pytest.mark.shared
def test_real_files(shared_data: Path) -> None:
    """Counts and sizes as stated in the README beside the data."""
    images = shared_data / "images"
    cifar = InputSpec((3, 32, 32), "float32")
    parts = [images / "cifar10_test_0000-1999.npz", images / "cifar10_test_2000-9999.npz"]
    whole = load_dataset(parts, cifar, PRESETS["cifar10"], classes=10)
    assert whole.images.shape == (10_000, 3, 32, 32)
    assert np.bincount(whole.labels if whole.labels is not None else []).tolist() == [1000] * 10
    signs = load_dataset([images / "gtsrb_test_1500_a_50x50.npz"], cifar, Preprocessing(resize=32), classes=43)
    assert signs.images.shape == (1500, 3, 32, 32)
    photos = InputSpec((3, 224, 224), "float32")
    chosen = load_dataset([images / "imagenet_sample"], photos, PRESETS["imagenet"], images=8, classes=1000)
    assert chosen.images.shape == (8, 3, 224, 224)
    assert (chosen.classes or ("",))[0] == "tench"
