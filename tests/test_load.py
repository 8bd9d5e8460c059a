"""Reading a model's file: what is one, what is not, and external data that is trusted no further than its folder."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from corpus import CASES
from onnx import TensorProto, helper, numpy_helper

from onnxfi.errors import ModelError
from onnxfi.graph.load import read
from onnxfi.graph.network import Network


def plain() -> onnx.ModelProto:
    return CASES["conv_bias"].model()


def refusal(path: Path) -> str:
    """The one sentence that a file is refused with."""
    with pytest.raises(ModelError) as caught:
        Network.load(path)
    text = str(caught.value)
    assert text.startswith(str(path))
    assert text.endswith(".")
    assert "\n" not in text
    return text


def written(folder: Path, blob: bytes, name: str = "m.onnx") -> Path:
    (folder / name).write_bytes(blob)
    return folder / name


def external(folder: Path, **entry: str) -> Path:
    """`plain` with the data of `conv.weight` (108 floats at offset 8) in data.bin, its entry changed by `entry`."""
    model = plain()
    tensor = next(t for t in model.graph.initializer if t.name == "conv.weight")
    (folder / "data.bin").write_bytes(b"\xff" * 8 + tensor.raw_data + b"\xff" * 8)
    keys = {"location": "data.bin", "offset": "8", "length": str(len(tensor.raw_data))} | entry
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in keys.items():
        tensor.external_data.add(key=key, value=value)
    return written(folder, model.SerializeToString())


def test_hash_and_bytes_are_the_files(tmp_path: Path) -> None:
    path = written(tmp_path, plain().SerializeToString())
    loaded = read(path)
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert loaded.model == plain()
    assert loaded.notes == ()


def test_what_the_checker_says_is_a_note(tmp_path: Path) -> None:
    model = plain()
    model.graph.node[0].attribute.append(helper.make_attribute("colour", "red"))
    (note,) = read(written(tmp_path, model.SerializeToString())).notes
    assert note.startswith("onnx's checker: ")
    assert "colour" in note


@pytest.mark.parametrize(
    ("blob", "said"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
        (b"PK\x03\x04" + bytes(40), "zip archive"),
        (b"\x89HDF\r\n\x1a\n" + bytes(40), "HDF5"),
        (b"\x80\x02}q\x00.", "pickle"),
        (b"\x1c\x00\x00\x00TFL3" + bytes(40), "TensorFlow Lite"),
        (b"\x1c\x00\x00\x00ORTM" + bytes(40), ".ort"),
        (b"\n<!DOCTYPE html><html></html>", "web page"),
        (b"no model at all", "is not an ONNX model"),
        (bytes(range(256)), "is not an ONNX model"),
        (b"\x08\x08", "holds no graph"),
    ],
)
def test_what_is_no_model(tmp_path: Path, blob: bytes, said: str) -> None:
    assert said in refusal(written(tmp_path, blob))


def test_no_file_and_no_regular_file(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "none.onnx")
    assert "is a folder" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "is not a regular file" in refusal(tmp_path / "pipe")


def test_no_nodes(tmp_path: Path) -> None:
    model = plain()
    del model.graph.node[:]
    assert "empty graph" in refusal(written(tmp_path, model.SerializeToString()))


def test_truncated_anywhere(tmp_path: Path) -> None:
    """Every prefix of the file is refused, whichever field it ends in."""
    blob = plain().SerializeToString()
    for end in range(1, len(blob), 7):
        refusal(written(tmp_path, blob[:end]))


def test_damaged_names(tmp_path: Path) -> None:
    blob = plain().SerializeToString().replace(b"conv.weight", b"conv\xff\xfeeight")
    assert "no UTF-8" in refusal(written(tmp_path, blob))


def test_a_tensor_cut_short(tmp_path: Path) -> None:
    model = plain()
    tensor = next(t for t in model.graph.initializer if t.name == "conv.bias")
    tensor.raw_data = tensor.raw_data[:-4]  # 4 biases, 16 bytes
    said = refusal(written(tmp_path, model.SerializeToString()))
    assert "'conv.bias' of shape [4] holds 12 bytes where it needs 16" in said


def test_a_huge_shape_allocates_nothing(tmp_path: Path) -> None:
    model = plain()
    tensor = next(t for t in model.graph.initializer if t.name == "conv.bias")
    tensor.dims[:] = [2**40, 2**40]
    assert f"needs {4 * 2**80}" in refusal(written(tmp_path, model.SerializeToString()))


def test_over_two_gib(tmp_path: Path) -> None:
    path = written(tmp_path, plain().SerializeToString())
    os.truncate(path, 3 * 2**30)  # a file with a hole: nothing is written
    assert "is 3.0 GiB" in refusal(path)


def test_external_data_is_inlined(tmp_path: Path) -> None:
    loaded = read(external(tmp_path))
    assert loaded.model == plain()
    digest = [hashlib.sha256((tmp_path / n).read_bytes()).digest() for n in ("m.onnx", "data.bin")]
    assert loaded.sha256 == hashlib.sha256(digest[0] + b"data.bin\0" + digest[1]).hexdigest()  # as `read` documents


def test_external_data_without_offset_and_length(tmp_path: Path) -> None:
    path = external(tmp_path, offset="", length="")
    values = numpy_helper.to_array(next(t for t in read(path).model.graph.initializer if t.name == "conv.weight"))
    assert np.array_equal(values.reshape(-1)[:2].view(np.uint32), [0xFFFFFFFF] * 2)  # the filler at the file's start


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"location": "gone.bin"}, "is missing"),
        ({"location": ""}, "is no file name"),
        ({"location": "/etc/passwd"}, "leaves the model's folder"),
        ({"location": "../data.bin"}, "leaves the model's folder"),
        ({"location": "sub/../../data.bin"}, "leaves the model's folder"),
        ({"location": "..\\data.bin"}, "leaves the model's folder"),
        ({"location": "C:\\data.bin"}, "leaves the model's folder"),
        ({"location": "."}, "is not a regular file"),
        ({"offset": "24"}, "the file ends at 448"),  # 8 + 432 + 8 bytes
        ({"offset": "-4"}, "at -4"),
        ({"offset": "0x8"}, "no number"),
        ({"length": "428"}, "declares 428 bytes"),
    ],
)
def test_external_data_refused(tmp_path: Path, entry: dict[str, str], said: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "data.bin").write_bytes(bytes(1000))
    text = refusal(external(folder, **entry))
    assert said in text
    assert "'conv.weight'" in text


@pytest.mark.parametrize("of_folder", [False, True])
def test_external_data_through_a_link(tmp_path: Path, of_folder: bool) -> None:
    folder, outside = tmp_path / "model", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (outside / "data.bin").write_bytes(bytes(1000))
    path = external(folder, location="inner/data.bin")
    if of_folder:
        (folder / "inner").symlink_to(outside)
    else:
        (folder / "inner").mkdir()
        (folder / "inner" / "data.bin").symlink_to(outside / "data.bin")
    assert "through a link" in refusal(path)


def test_external_data_over_two_gib(tmp_path: Path) -> None:
    model = plain()
    tensor = next(t for t in model.graph.initializer if t.name == "conv.weight")
    tensor.dims[:] = [2**30]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="data.bin")
    assert "4.0 GiB of external data" in refusal(written(tmp_path, model.SerializeToString()))
