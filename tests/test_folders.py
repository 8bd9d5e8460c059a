"""Folders of image files in, images and labels out; and every sentence that refuses them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_room import GREY, NCHW, PLAIN, png, ramp, refusal
from PIL import Image

from onnxfi.study.dataset import InputSpec, Preprocessing, load_dataset

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def plain(file: Path, colour: tuple[int, int, int], size: int = 4) -> Path:
    return png(file, np.full((size, size, 3), colour))


def listed(folder: Path, text: str) -> Path:
    (folder / "labels.csv").write_text(text, encoding="utf-8")
    return folder


def test_class_folders_are_numbered_by_their_sorted_names(tmp_path: Path) -> None:
    plain(tmp_path / "dog" / "1.png", RED)
    plain(tmp_path / "cat" / "2.png", GREEN)
    plain(tmp_path / "cat" / "1.PNG", BLUE)
    (tmp_path / "cat" / "notes.txt").write_text("not an image")
    plain(tmp_path / ".thumbnails" / "1.png", RED)
    data = load_dataset([tmp_path], NCHW, PLAIN, classes=2)
    assert data.labels is not None
    assert data.labels.tolist() == [0, 0, 1]
    assert data.classes == ("cat", "dog")
    assert data.names == ("cat/1.PNG", "cat/2.png", "dog/1.png")
    assert data.images[:, :, 0, 0].tolist() == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]
    assert data.source == f"{tmp_path.name} (2 class folders): 3 images"


def test_more_class_folders_than_outputs(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        plain(tmp_path / name / "1.png", RED)
    text = refusal(tmp_path, classes=2)
    assert text.startswith(f"{tmp_path / 'c'}: the class is 2, but the model has 2 outputs (0 to 1);")


def test_numbered_class_folders_must_sort_by_number(tmp_path: Path) -> None:
    for name in ("0", "2", "10"):
        plain(tmp_path / name / "1.png", RED)
    text = refusal(tmp_path)
    assert "numbered class folders that sort by name as 0, 10, 2, ...; give them leading zeros, or write a" in text
    for name in ("0", "2"):
        (tmp_path / name).rename(tmp_path / f"0{name}")
    assert load_dataset([tmp_path], NCHW, PLAIN).classes == ("00", "02", "10")


def test_images_alone_have_no_labels(tmp_path: Path) -> None:
    plain(tmp_path / "b.png", RED)
    plain(tmp_path / "a.jpg", GREEN)
    data = load_dataset([tmp_path], NCHW, PLAIN)
    assert (data.labels, data.classes, data.names) == (None, None, ("a.jpg", "b.png"))
    assert load_dataset([tmp_path / "b.png"], NCHW, PLAIN).names == ("b.png",)
    plain(tmp_path / "cat" / "1.png", RED)
    assert refusal(tmp_path).startswith(f"{tmp_path} holds both images (a.jpg) and class folders;")


def test_labels_csv_rules(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        plain(tmp_path / name, RED)
    rows = "file,class_id,wnid,name\nc.png,2,n02,great white shark\na.png,0,n00,tench\n"
    data = load_dataset([listed(tmp_path, rows)], NCHW, PLAIN, classes=4)
    assert data.labels is not None
    assert data.labels.tolist() == [2, 0]
    assert data.names == ("c.png", "a.png")
    assert data.classes == ("tench", "1", "great white shark", "3")
    assert data.source.endswith(" (labels.csv; images left out because it does not list them: 1): 2 images")


def test_labels_csv_of_other_hands(tmp_path: Path) -> None:
    """A byte-order mark, capitals, blanks, a sub-folder, and a name column that names images, not classes."""
    plain(tmp_path / "in" / "a.png", RED)
    plain(tmp_path / "in" / "b.png", RED)
    listed(tmp_path, "\ufeff Filename , Label,name\nin/a.png, 1,first\n\nin/b.png, 1,second\n")
    data = load_dataset([tmp_path], NCHW, PLAIN)
    assert data.labels is not None
    assert (data.labels.tolist(), data.classes) == ([1, 1], None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image_file,label\na.png,0\n", "has the columns image_file, label, but needs a file column (file, filename,"),
        ("", "has the columns (none), but needs"),
        ("file,label\n", "lists no images; give one row an image."),
        ("file,label\na.png,0\nz.png,1\n", ", line 3: no file 'z.png' in {folder}; correct or remove the row."),
        ("file,label\na.png\n", ", line 2: the label '' is no class number; give whole numbers from 0."),
        ("file,label\na.png,cat\n", ", line 2: the label 'cat' is no class number; give whole numbers from 0."),
        (f"file,label\na.png,{10**30}\n", "is no class number; give whole numbers from 0."),
        ("file,label\na.png,1\na.png,7\n", ", line 3: the label is 7, but the model has 2 outputs (0 to 1);"),
    ],
)
def test_labels_csv_that_cannot_be_used(tmp_path: Path, text: str, words: str) -> None:
    plain(tmp_path / "a.png", RED)
    said = refusal(listed(tmp_path, text), classes=2)
    assert said.startswith(str(tmp_path / "labels.csv"))
    assert words.replace("{folder}", str(tmp_path)) in said


def test_labels_csv_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_bytes(b"\xff\xfe\x00file")
    assert refusal(tmp_path).endswith("write it as comma-separated UTF-8.")


def test_channels_follow_the_model(tmp_path: Path) -> None:
    """Pillow's grey is (299 R + 587 G + 114 B) / 1000, rounded: 76 for pure red (76.2)."""
    plain(tmp_path / "red.png", RED)
    grey = load_dataset([tmp_path], GREY, Preprocessing(scale=1.0))
    assert grey.images.shape == (1, 1, 4, 4)
    assert np.all(grey.images == 76)
    assert load_dataset([tmp_path], InputSpec((4, 4), "float32"), PLAIN).layout == "NHW"
    text = refusal(tmp_path, spec=InputSpec((5, 4, 4), "float32"))
    assert text.endswith("can be read with 1, 3 or 4 channels, but the model wants 5; give an .npy.")


def test_kinds_of_image_files(tmp_path: Path) -> None:
    """A palette is expanded, transparency dropped, and 16 bits brought to 8: 65535 / 257 = 255, 25700 / 257 = 100."""
    Image.new("RGB", (4, 4), RED).quantize(4).save(tmp_path / "1.png")
    Image.new("RGBA", (4, 4), (255, 0, 0, 7)).save(tmp_path / "2.png")
    Image.fromarray(np.tile(np.array([65535, 25700], np.uint16), (4, 2))).save(tmp_path / "3.png")
    images = load_dataset([tmp_path], NCHW, Preprocessing(scale=1.0)).images
    assert images[0, :, 0, 0].tolist() == images[1, :, 0, 0].tolist() == [255, 0, 0]
    assert images[2, :, 0, :2].T.tolist() == [[255] * 3, [100] * 3]
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "4.tiff")
    assert "4.tiff cannot be read as an image (pixels of mode F have no known range, save it with 8" in refusal(
        tmp_path
    )


@pytest.mark.parametrize("kind", ["png", "jpg", "bmp", "gif"])
def test_torn_images_are_named(tmp_path: Path, kind: str) -> None:
    plain(tmp_path / "a.png", GREEN, 64)
    torn = tmp_path / f"b.{kind}"
    Image.fromarray(ramp(64, 64, 3)).save(torn)
    whole = torn.read_bytes()
    for length in (0, 5, len(whole) // 2):
        torn.write_bytes(whole[:length])
        text = refusal(tmp_path, spec=InputSpec((3, 64, 64), "float32"))
        assert text.startswith(f"{torn} cannot be read as an image (")
        assert text.endswith("replace or remove it.")


def test_mixed_sizes_need_resize(tmp_path: Path) -> None:
    first, second = plain(tmp_path / "a.png", RED, 6), plain(tmp_path / "b.png", RED, 9)
    free = InputSpec((3, None, None), "float32")
    text = refusal(tmp_path, spec=free)
    assert text.startswith(f"{second} has the shape 3x9x9, but {first} 3x6x6; use --resize HEIGHTxWIDTH, or --resize")
    assert refusal(tmp_path) == f"{first} is 6x6, but the model wants 4x4 (height x width); use --resize 4."
    assert load_dataset([tmp_path], free, Preprocessing(resize=5)).images.shape == (2, 3, 5, 5)


def test_only_chosen_images_are_decoded(tmp_path: Path) -> None:
    for number in range(6):
        plain(tmp_path / f"{number}.png", RED)
    chosen = load_dataset([tmp_path], NCHW, PLAIN, images=3, seed=1).names or ()
    for number in range(6):
        if f"{number}.png" not in chosen:
            (tmp_path / f"{number}.png").write_bytes(b"torn")
    assert load_dataset([tmp_path], NCHW, PLAIN, images=3, seed=1).names == chosen
