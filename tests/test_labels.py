"""Models that number their classes in their own way: names, maps, and a background class in front."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onnxfi import Data, DataError
from onnxfi.metrics.safety import Groups, load_groups
from onnxfi.study.dataset import Dataset, Preprocessing
from onnxfi.study.labels import arranged, class_names, read_labels, relabelled


def _dataset(classes: tuple[str, ...] | None) -> Dataset:
    labels = np.array([0, 1, 2, 2])
    images = np.zeros((4, 3), np.float32)
    return Dataset(images, labels, classes, None, "made up", False, Preprocessing(), "as given", "ab")


def _written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "labels.txt"
    path.write_text(text)
    return str(path)


def test_names_put_labels_in_the_models_order(tmp_path: Path) -> None:
    data = Data(labels=_written(tmp_path, "Oak\nboy\nnothing\ncar\n"))
    found = relabelled(_dataset(("boy", "car", "oak")), data, 4)
    assert found.labels is not None and found.labels.tolist() == [1, 3, 0, 0]
    assert found.classes == ("oak", "boy", "(no class)", "car")
    assert found.sha256 != "ab"  # other labels are another question


def test_names_alone_name_the_outputs(tmp_path: Path) -> None:
    data = Data(labels=_written(tmp_path, "boy\ncar\noak\n"))
    found = relabelled(_dataset(None), data, 3)
    assert found.classes == ("boy", "car", "oak")
    assert found.labels is not None and found.labels.tolist() == [0, 1, 2, 2]


def test_a_map_of_numbers_and_a_background_class(tmp_path: Path) -> None:
    mapped = relabelled(_dataset(("boy", "car", "oak")), Data(label_map=_written(tmp_path, "2\n-\n0\n1\n")), 4)
    assert mapped.labels is not None and mapped.labels.tolist() == [2, 3, 0, 0]
    shifted = relabelled(_dataset(None), Data(label_map="background-first"), 4)
    assert shifted.labels is not None and shifted.labels.tolist() == [1, 2, 3, 3]


def test_without_either_nothing_changes() -> None:
    dataset = _dataset(None)
    assert relabelled(dataset, Data(), 3) is dataset


def test_groups_follow_wnids_and_background(tmp_path: Path) -> None:
    imagenet = load_groups("imagenet")
    backwards = Data(labels=_written(tmp_path, "\n".join(reversed(imagenet.ids))))
    found = arranged(imagenet, backwards)
    assert found.classes == tuple(reversed(imagenet.classes))
    assert _group(found, 0) == _group(imagenet, 999)
    with_background = arranged(imagenet, Data(label_map="background-first"))
    with_background.check(1001)
    assert _group(with_background, 408) == _group(imagenet, 407) == "Emergency Vehicle"  # ambulance
    assert _group(with_background, 0) == "No class"


def _group(groups: Groups, number: int) -> str:
    return groups.groups[int(groups.of(np.array([number]))[0])].name


@pytest.mark.parametrize(
    ("text", "option", "sentence"),
    [
        ("cat\ndog\n", "labels", "names none of the classes, such as 'boy'"),
        ("boy\nboy\n", "labels", "gives class 0 to two outputs"),
        ("boy\n\ncar\n", "labels", "has an empty line"),
        ("boy\ncar\n", "labels", "No output of the model stands for label 2"),
        ("0 x 1", "label_map", "has 'x' for output 1"),
        ("0 1 1", "label_map", "gives class 1 to two outputs"),
    ],
)
def test_what_is_wrong_with_them(tmp_path: Path, text: str, option: str, sentence: str) -> None:
    data = Data(**{option: _written(tmp_path, text)})  # type: ignore[arg-type]
    with pytest.raises(DataError) as caught:
        relabelled(_dataset(("boy", "car", "oak")), data, 3)
    assert sentence in str(caught.value)


def test_both_or_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="give one of the two"):
        relabelled(_dataset(("boy", "car", "oak")), Data(labels="a", label_map="b"), 3)
    with pytest.raises(DataError, match="cannot be read"):
        read_labels(tmp_path / "none.txt")
    with pytest.raises(DataError, match="Give --data"):
        class_names((), None)
