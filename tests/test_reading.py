"""NumPy files in, images and labels out; and every sentence that refuses them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_room import NCHW, PLAIN, npy, npz, ramp, refusal

from onnxfi.study.dataset import InputSpec, load_dataset


@pytest.mark.parametrize(
    ("images", "labels"),
    [("images", "labels"), ("x", "y"), ("x_test", "y_test"), ("data", "targets"), ("X", "Y"), ("arr_0", "arr_1")],
)
def test_the_usual_names(tmp_path: Path, images: str, labels: str) -> None:
    file = npz(tmp_path, **{labels: np.array([[2], [0]]), images: ramp(2, 4, 4, 3)})  # (N, 1), as Keras has them
    data = load_dataset([file], NCHW, PLAIN, classes=3)
    assert data.labels is not None
    assert data.labels.tolist() == [2, 0]
    assert data.labels.dtype == np.int64
    assert data.source == f"data.npz ({images}, {labels}): 2 images"


def test_a_single_array_needs_no_name_and_training_images_come_last(tmp_path: Path) -> None:
    assert load_dataset([npz(tmp_path, anything=ramp(2, 4, 4, 3))], NCHW, PLAIN).labels is None
    both = npz(tmp_path, x_train=ramp(5, 4, 4, 3), y_train=np.zeros(5), x_test=ramp(2, 4, 4, 3), y_test=np.ones(2))
    data = load_dataset([both], NCHW, PLAIN)
    assert data.labels is not None
    assert data.labels.tolist() == [1, 1]


def test_npy_takes_labels_from_beside_it(tmp_path: Path) -> None:
    file = npy(tmp_path, ramp(2, 4, 4, 3))
    assert load_dataset([file], NCHW, PLAIN).labels is None
    for name, expected in (("labels.npy", [1, 0]), ("data_labels.npy", [0, 1])):
        npy(tmp_path, expected, name)
        data = load_dataset([file], NCHW, PLAIN)
        assert data.labels is not None
        assert (data.labels.tolist(), data.source) == (expected, f"data.npy (labels from {name}): 2 images")


def _pickled_npz(folder: Path) -> Path:
    return npz(folder, images=np.array([None, 1], object))


def _pickled_labels(folder: Path) -> Path:
    return npz(folder, images=ramp(2, 4, 4, 3), labels=np.array([0, "cat"], object))


def _pickled_npy(folder: Path) -> Path:
    return npy(folder, np.array([{}, {}], object))


def _bare_pickle(folder: Path) -> Path:
    np.array([1]).dump(folder / "data.npy")
    return folder / "data.npy"


@pytest.mark.parametrize("write", [_pickled_npz, _pickled_labels, _pickled_npy, _bare_pickle])
def test_pickles_are_never_loaded(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    file = write(tmp_path)
    text = refusal(file)
    assert text.startswith(str(file))
    assert text.endswith("is pickled, and pickles are never loaded; save it as a plain array of numbers or strings.")


def test_numpy_files_that_cannot_be_read(tmp_path: Path) -> None:
    whole = npz(tmp_path, images=ramp(2, 4, 4, 3)).read_bytes()
    file = tmp_path / "torn.npz"
    for length in (0, 3, len(whole) // 2, len(whole) - 30):
        file.write_bytes(whole[:length])
        assert str(file) in refusal(file)
    flipped = bytearray(whole)
    flipped[250] ^= 0xFF
    file.write_bytes(flipped)
    assert refusal(file).startswith(f"{file}: images cannot be read (")
    npy(tmp_path, ramp(2, 4, 4, 3))
    torn = tmp_path / "data.npy"
    torn.write_bytes(torn.read_bytes()[:-9])
    assert "it may be torn: write it again." in refusal(torn)
    torn.write_bytes(torn.read_bytes().replace(b"(2, 4", b"((2, "))  # numpy parses this header as Python, and chokes
    assert "it may be torn: write it again." in refusal(torn)
    text = tmp_path / "text.npy"
    text.write_text("not numpy")
    assert refusal(text).startswith(f"{text} is not a NumPy file, or it is torn;")


def test_npz_contents_that_make_no_sense(tmp_path: Path) -> None:
    good = ramp(2, 4, 4, 3)
    file = npz(tmp_path, picture=good, other=good)
    assert refusal(file).startswith(f"{file} holds picture, other, and none is a name for images (images, x_test,")
    assert "images has the shape (0, 4, 4, 3), which holds no pixel; give at" in refusal(npz(tmp_path, images=good[:0]))
    assert "is of dtype <U1, which is no image" in refusal(npz(tmp_path, images=[["a"]]))
    assert "has the shape (2,), but images need an axis" in refusal(npz(tmp_path, images=[1, 2]))


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0, 1, 2], "labels holds 3 labels, but {file}: images holds 2 images; make them match."),
        ([0, 0.5], "labels[1] is 0.5, which is no class number; save whole numbers."),
        ([np.nan, 0], "labels[0] is nan, which is no class number; save whole numbers."),
        (["a", "b"], "labels is of dtype <U1, but labels are whole numbers; save class numbers."),
        (np.eye(2), "labels has the shape (2, 2), but labels are one class number an image; use argmax."),
        (
            [0, 3],
            "labels[1] is 3, but the model has 3 outputs (0 to 2); correct the label, or give the images this model",
        ),
        ([-1, 3], "labels[0] is -1, but the model has 3 outputs (0 to 2);"),
    ],
)
def test_labels_that_cannot_be_used(tmp_path: Path, labels: Any, words: str) -> None:
    file = npz(tmp_path, images=ramp(2, 4, 4, 3), labels=labels)
    assert refusal(file, classes=3).startswith(f"{file}: {words}".replace("{file}", str(file)))


def test_float_labels_that_are_whole_are_fine(tmp_path: Path) -> None:
    data = load_dataset([npz(tmp_path, images=ramp(2, 4, 4, 3), labels=[2.0, 1.0])], NCHW, PLAIN)
    assert data.labels is not None
    assert data.labels.tolist() == [2, 1]
    assert "is -1, but classes count from 0;" in refusal(npz(tmp_path, images=ramp(1, 4, 4, 3), labels=[-1]))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_images_that_are_not_finite_are_named(tmp_path: Path, bad: float) -> None:
    images = np.zeros((3, 4, 4, 3), np.float32)
    images[1, 2, 3, 0] = images[2, 0, 0, 0] = bad
    file = npz(tmp_path, images=images)
    assert refusal(file) == f"{file}: images[1, 2, 3, 0] is {bad}; replace or remove that image."


def test_numbers_that_overflow_are_named(tmp_path: Path) -> None:
    file = npy(tmp_path, np.array([1.0, 1e6], np.float32).reshape(2, 1, 1))
    text = refusal(file, spec=InputSpec((1, 1, 1), "float16"))
    assert text == f"{file}: array[1] overflows the model's float16 after preprocessing; use --scale."
