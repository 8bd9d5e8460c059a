"""Networks of the zoo go the whole way: built, exported, checked against PyTorch, and analysed with synthetic images.

All others differ from these in depth and width only, and are held by names, shapes and counts (test_zoo.py).
"""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the extra [pytorch]")
torch.set_num_threads(1)  # small networks: more threads only wait for each other
pytest.importorskip("onnxscript", reason="needs the extra [pytorch]")

from test_zoo import weights  # noqa: E402

from models.__main__ import main  # noqa: E402
from onnxfi.api import Data, Machine, Precision, analyze  # noqa: E402
from onnxfi.graph.network import Network  # noqa: E402

SMALL = ["lenet5", "trafficsignnet", "mlp3"]
LARGE = [
    "mobilenetv2",  # depthwise convolutions
    "vgg11",  # no residual links, wide planes
    "densenet121",  # concatenations of concatenations
    "googlenet-cifar100",  # parallel branches
    "resnet18-cifar100",
]
CASES = [(name, 2_000) for name in SMALL] + [pytest.param(name, 500, marks=pytest.mark.slow) for name in LARGE]


@pytest.mark.parametrize(("name", "budget"), CASES)
def test_network_is_exported_checked_and_analysed(
    name: str, budget: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model.onnx"
    assert main(["export", name, "--random", "0", "-o", str(model)]) == 0
    assert "check passed" in capsys.readouterr().out
    assert {layer.id for layer in Network.load(model).layers} == set(weights(name))
    run = analyze(
        model, data=Data(synthetic=8), precision=Precision(budget=budget), machine=Machine(workers=1),
        out=tmp_path / "study",
    )  # fmt: skip
    assert run.summary.trials == budget
