"""PyTorch -> ONNX: every parameter under its name, bit for bit, read once; logits as the framework's."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

torch = pytest.importorskip("torch", reason="needs the extra [pytorch]")
torch.set_num_threads(1)  # small networks: more threads only wait for each other
pytest.importorskip("onnxscript", reason="needs the extra [pytorch]")

from converters import pytorch as exporter  # noqa: E402
from converters.__main__ import main  # noqa: E402
from converters.check import check  # noqa: E402
from converters.run import random_images  # noqa: E402
from models.normalisation import IMAGENET  # noqa: E402

DATA = os.environ.get("ONNXFI_SHARED_DATA")


class Tied(torch.nn.Module):
    """One linear layer read twice, a bias of zeros, and a parameter that nothing reads."""

    def __init__(self) -> None:
        super().__init__()
        self.twice = torch.nn.Linear(4, 4)
        self.bn = torch.nn.BatchNorm1d(4)
        self.unread = torch.nn.Parameter(torch.ones(3))
        torch.nn.init.zeros_(self.twice.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.bn(self.twice(torch.relu(self.twice(x))))
        return answer


class Two(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, x


def number() -> int:
    return 1


@pytest.fixture(scope="module")
def resnet20(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    path = tmp_path_factory.mktemp("export") / "resnet20.onnx"
    assert main(["pytorch", "--arch", "resnet20", "--random", "3", "-o", str(path)]) == 0
    assert [file.name for file in path.parent.iterdir()] == ["resnet20.onnx"]
    return onnx.load(path)


def initializers(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def properties(model: onnx.ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}


def test_parameters_are_kept_by_name_and_read_once(resnet20: onnx.ModelProto) -> None:
    # 19 convolutions, 19 BatchNormalizations of four tensors, one linear layer of two: 97. Untrained, all scales are
    # equal, which is where exporters merge them.
    kept = [name for name in initializers(resnet20) if "." in name]
    readers = Counter(name for node in resnet20.graph.node for name in node.input)
    assert len(kept) == 19 + 19 * 4 + 2
    assert {readers[name] for name in kept} == {1}


def test_batch_normalization_is_kept(resnet20: onnx.ModelProto) -> None:
    ops = Counter(node.op_type for node in resnet20.graph.node)
    assert (ops["Conv"], ops["BatchNormalization"], ops["Relu"], ops["Add"], ops["Gemm"]) == (19, 19, 19, 9, 1)


def test_form_of_the_file(resnet20: onnx.ModelProto) -> None:
    onnx.checker.check_model(resnet20)
    assert resnet20.ir_version == 10
    assert [(entry.domain, entry.version) for entry in resnet20.opset_import] == [("", 20)]
    (shape,) = (value.type.tensor_type.shape.dim for value in resnet20.graph.input)
    assert shape[0].dim_param == "batch"
    assert [size.dim_value for size in shape[1:]] == [3, 32, 32]


def test_metadata_names_layers_and_normalisation(resnet20: onnx.ModelProto) -> None:
    known = properties(resnet20)
    layers = json.loads(known["onnxfi.layers"])
    assert layers["layer2.0.conv1.weight"] == "layer2.0.conv1"
    assert layers["bn1.running_var"] == "bn1"
    assert set(layers) == {name for name in initializers(resnet20) if "." in name}
    assert known["onnxfi.framework"] == "pytorch"
    assert float(known["onnxfi.scale"]) == 1 / 255
    assert (known["onnxfi.mean"], known["onnxfi.std"]) == ("0.485,0.456,0.406", "0.229,0.224,0.225")


def test_no_source_path_is_in_the_file(resnet20: onnx.ModelProto) -> None:
    rest = onnx.ModelProto.FromString(resnet20.SerializeToString())
    del rest.graph.initializer[:]
    content = rest.SerializeToString()
    assert not [text for text in (".py", "site-packages", "File ", "stack_trace") if text.encode() in content]


def test_folded_gives_no_batch_normalization(tmp_path: Path) -> None:
    path = tmp_path / "folded.onnx"
    arguments = ["--arch", "fashion-resnet8", "--random", "0", "--folded", "-o", str(path)]
    assert main(["pytorch", *arguments]) == 0
    model = onnx.load(path)
    assert not any(node.op_type == "BatchNormalization" for node in model.graph.node)
    layers = json.loads(properties(model)["onnxfi.layers"])
    assert layers["layer1.0.conv1.weight"] == "layer1.0.conv1"
    assert set(layers.values()) >= {"conv1", "layer2.0.shortcut.0", "linear"}


def test_opset_and_normalisation_can_be_chosen(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    images = tmp_path / "images.npz"
    np.savez(images, images=np.random.default_rng(0).integers(0, 256, (5, 28, 28), np.uint8))
    arguments = ["--arch", "fashion-resnet8", "--random", "0", "--opset", "18", "--images", str(images)]
    assert main(["pytorch", *arguments, "--mean", "0.5", "--std", "0.25", "-o", str(path)]) == 0
    model = onnx.load(path)
    known = properties(model)
    assert (known["onnxfi.mean"], known["onnxfi.std"], float(known["onnxfi.scale"])) == ("0.5", "0.25", 1 / 255)
    assert model.opset_import[0].version == 18


def test_tied_zero_and_unread_parameters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tied.onnx"
    assert main(["pytorch", "--module", f"{__name__}:Tied", "--input-shape", "4", "-o", str(path)]) == 0
    assert "read more than once: twice.bias, twice.weight" in capsys.readouterr().out
    found = initializers(onnx.load(path))
    assert not found["twice.bias"].any()
    assert "unread" not in found
    assert "onnxfi.mean" not in properties(onnx.load(path))


def test_check_sees_one_flipped_bit(tmp_path: Path) -> None:
    net = Tied().eval()
    exported = exporter.export(net, (4,))
    exporter.save(exported.model, tmp_path / "net.onnx")
    weights = exporter.stored(net)
    weights["bn.bias"] = np.array([0, -0.0, 0, 0], np.float32)
    report = check(
        tmp_path / "net.onnx", random_images((4,)), lambda x: exporter.predict(net, x), weights, exported.parameters
    )
    assert report.wrong == ("bn.bias",)
    assert not report.passed
    assert "check FAILED" in str(report)


@pytest.mark.parametrize("answer", [1.0, np.nan])
def test_check_sees_other_logits(tmp_path: Path, answer: float) -> None:
    net = Tied().eval()
    exported = exporter.export(net, (4,))
    exporter.save(exported.model, tmp_path / "net.onnx")
    report = check(
        tmp_path / "net.onnx", random_images((4,)), lambda x: exporter.predict(net, x) + np.float32(answer),
        exporter.stored(net), exported.parameters,
    )  # fmt: skip
    assert not report.wrong
    assert not report.passed


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--arch", "resnet21"], "there are resnet20"),
        (["--arch", "resnet20"], "--checkpoint"),
        (["--arch", "resnet20", "--checkpoint", "none.th"], "none.th cannot be read"),
        (["--arch", "resnet20", "--random", "0", "--opset", "27"], "opset 27"),
        (["--arch", "resnet20", "--random", "0", "--images", "none.npz"], "none.npz"),
        (["--module", "models.pytorch.resnet:small"], "--input-shape"),
        (["--module", "models.pytorch.resnet:none", "--input-shape", "1,28,28"], "models.pytorch.resnet:none"),
        (["--module", f"{__name__}:number", "--input-shape", "1,28,28"], "not an nn.Module"),
        (["--module", f"{__name__}:Two", "--input-shape", "1,28,28"], "one tensor"),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert main(["pytorch", *arguments, "-o", str(tmp_path / "out.onnx")]) == 2
    message = capsys.readouterr().err
    assert sentence in message
    assert message.count("\n") == 1


def test_without_torch_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "converters.run", raising=False)
    assert main(["pytorch", "--arch", "resnet20", "-o", str(tmp_path / "out.onnx")]) == 2
    assert "pip install -e '.[pytorch]'" in capsys.readouterr().err


@pytest.mark.shared
@pytest.mark.skipif(not DATA, reason="needs ONNXFI_SHARED_DATA, the folder of published weights and images")
def test_the_published_resnet20_gives_the_reference_logits(tmp_path: Path) -> None:
    folder, path = Path(str(DATA)), tmp_path / "resnet20.onnx"
    weights = folder / "weights/cifar10_resnet20-12fca82f.th"
    images = folder / "images/cifar10_test_0000-1999.npz"
    arguments = ["--checkpoint", str(weights), "--images", str(images), "-o", str(path)]
    assert main(["pytorch", "--arch", "resnet20", *arguments]) == 0
    with np.load(images) as content:
        first = IMAGENET.apply(content["images"][:100])
    with np.load(folder / "reference/cifar10_resnet20-12fca82f_logits.npz") as content:
        reference = content["logits"]
    (logits,) = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"input": first})
    assert np.abs(np.asarray(logits) - reference).max() <= 1e-3
