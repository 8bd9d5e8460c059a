"""The zoo against what is published: names, shapes and counts of every network, by the fault lists drawn from them.

The lists hold a layer's name and a tensor index a row, drawn by a generator whose every number depends on the shapes
of all layers before; one hash proves names, shapes and order of a whole network.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra [pytorch]")

from models import checkpoint  # noqa: E402
from models.__main__ import main  # noqa: E402
from models.accuracy import measure, right  # noqa: E402
from models.registry import ARCHITECTURES, architecture  # noqa: E402
from onnxfi.study.dataset import InputSpec, Preprocessing, load_dataset  # noqa: E402
from onnxfi.study.drawing import published, published_counts  # noqa: E402

DATA = os.environ.get("ONNXFI_SHARED_DATA")

# cad-polito-it/dnn-benchmarks @ f95247d42dbc: SHA-256 of the lines `Injection,Layer,"TensorIndex",Bit` of each list,
# without header and results, lines ending in LF. Of ResNet20 one row was edited by hand; here is the list as drawn.
LISTS = {
    "resnet20": "56cc39d65dbbeaecba13d1c1b7aafbb840eb01ed8072fb81cd3f58ac6a1fc3c9",
    "resnet32": "d170aca89acecc329bb6389234f23afe8f4320efe7112aac18936e8686e72729",
    "resnet44": "7a2b7bf5c5540baed574d8483ec51d8f60355b8972b485acb16ea3c231b1f40d",
    "mobilenetv2": "310b5719c7d29fffb01ea1259fb56743df340479a0212454dab37bc454487878",
    "vgg11_bn": "8062e94ad29016a13f01ca0c8a44eac073bdeea8c44ed12cb736220992d86a7d",
    "vgg13_bn": "5811bf1f0456205dff7a295e5f4cd6e6a8372c0ed19fd5af917c4f35971e38dc",
    "densenet121": "6912ccc7e300f51ba1ebabf86477eaad1105576ecb7a1658d2fde5f74f96c1f2",
    "densenet161": "67d26c32f2e6c531422bae7ccc367ed7d02d35d2fa48340376d093305bf969f1",
    "googlenet": "df0554935928fda164a777f9451759ef4210511ff98666afcf98e9c14763c1f1",
    "resnet18-cifar100": "c5a8d52b64ae1ec4cf3d794ed01cdd851b0c3fe8ba9f6f93feac88086137e535",
    "densenet121-cifar100": "8c8b26c06944d71c1d59109ca10d0a9656af482a389fa05c4a05cee612bbd083",
    "googlenet-cifar100": "d79365deac8589d344401273cadcaa79765277ac3716ed2825fa24b3b98d4dc8",
    "resnet20-gtsrb": "238108340fadbe432fa7dc49549319c74a2551cc520cebcc5dcbca142993977f",
    "densenet121-gtsrb": "f295782a46c2ce1bb1dfa3fc5535494064000fd0846dccfd1c96e2a7e1d37065",
    "vgg11_bn-gtsrb": "aabddc64f6e5ccfcc61f7b05f8444b652f9924422a96f1408b74aee5276b8c0d",
}


def weights(name: str) -> dict[str, tuple[int, ...]]:
    """{layer: shape} of the weights that the published lists count; built without memory."""
    with torch.device("meta"):
        parameters = dict(architecture(name).build().named_parameters())
    return {key.removesuffix(".weight"): tuple(value.shape) for key, value in parameters.items() if value.ndim >= 2}


@pytest.mark.parametrize("name", LISTS)
def test_names_and_shapes_give_the_published_list(name: str) -> None:
    layers = weights(name)
    shapes, names = list(layers.values()), list(layers)
    faults = published(shapes, published_counts(shapes, "network", 0.01, 0.99, np.full(32, 0.5)), seed=42)
    text = "".join(f'{number},{names[layer]},"{index}",{bit}\n' for number, (layer, index, bit) in enumerate(faults))
    assert hashlib.sha256(text.encode()).hexdigest() == LISTS[name]


# Ahmadilivany et al. 2024, DeepVigor+: convolutions, channels and weights of tables II and VI (weights = exhaustive
# faults / 32). Output elements as counted on the authors' networks or by hand; their table II has other numbers, which
# do not fit their own network classes.
@pytest.mark.parametrize(
    ("name", "convolutions", "channels", "faults", "neurons"),
    [
        ("vgg11", 8, 2_752, 294_967_296, 409_600),
        ("vgg16-cifar100", 13, 4_224, 470_734_848, 276_480),
        ("resnet18-c", 20, 4_800, 357_095_424, 614_400),
        ("mobilenetv2-cifar100", 54, 17_188, 74_176_512, 881_812),
        ("resnet18-i", 20, 4_800, 357_341_184, 2_483_712),
        ("resnet34", 36, 8_512, 680_564_736, 3_738_112),
    ],
)
def test_deepvigor_networks_have_the_published_sizes(
    name: str, convolutions: int, channels: int, faults: int, neurons: int
) -> None:
    entry = architecture(name)
    outputs = []
    with torch.device("meta"):
        net = entry.build()
        found = [module for module in net.modules() if isinstance(module, torch.nn.Conv2d)]
        for module in found:
            module.register_forward_hook(lambda _, __, y: outputs.append(y[0].numel()))
        net(torch.zeros(1, *entry.shape))
    assert len(found) == convolutions
    assert sum(module.out_channels for module in found) == channels
    assert sum(module.weight.numel() for module in found) * 32 == faults
    assert sum(outputs) == neurons


# No list is published for these. By hand: VGG-16 and -19 have one or two more convolutions of VGG-13's last three
# stages; ResNet-56 and -110 have 2 or 11 more blocks a stage than ResNet-44; LeNet-5 without biases.
@pytest.mark.parametrize(
    ("name", "layers", "count"),
    [
        ("vgg16_bn", 16, 28_317_376 + 9 * (256**2 + 2 * 512**2)),
        ("vgg19_bn", 19, 28_317_376 + 2 * 9 * (256**2 + 2 * 512**2)),
        ("resnet56", 56, 655_408 + 2 * 2 * 9 * (16**2 + 32**2 + 64**2)),
        ("resnet110", 110, 655_408 + 11 * 2 * 9 * (16**2 + 32**2 + 64**2)),
        ("lenet5", 5, 25 * 6 + 25 * 6 * 16 + 400 * 120 + 120 * 84 + 84 * 10),
    ],
)
def test_networks_without_a_list_have_the_counts_of_the_papers(name: str, layers: int, count: int) -> None:
    shapes = weights(name)
    assert len(shapes) == layers
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == count


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_turns_its_input_into_logits(name: str) -> None:
    entry = architecture(name)
    with torch.device("meta"):
        assert entry.build()(torch.zeros(2, *entry.shape)).shape == (2, entry.classes)


def test_accuracy_is_counted(tmp_path: Path) -> None:
    np.savez(tmp_path / "images.npz", images=np.zeros((3, 28, 28), np.uint8), labels=np.array([2, 1, 2], np.uint8))
    dataset = load_dataset([tmp_path / "images.npz"], InputSpec((1, 28, 28), "float32"), Preprocessing())
    assert right(dataset, lambda images: np.tile(np.float32([0, 1, 2]), (len(images), 1))) == 2


def test_accuracy_is_measured_as_trained_and_as_published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generator = np.random.default_rng(0)
    images, labels = generator.integers(0, 256, (4, 40, 40, 3), np.uint8), generator.integers(0, 10, 4)
    np.savez(tmp_path / "images.npz", images=images, labels=labels)
    torch.save({"net": architecture("resnet20").build().state_dict()}, tmp_path / "net.pt")
    torch.save(architecture("lenet5-mrfi").build().state_dict(), tmp_path / "lenet.pt")
    words = [f"resnet20={tmp_path / 'net.pt'}", f"lenet5-mrfi={tmp_path / 'lenet.pt'}"]
    assert main(["accuracy", *words, "--data", str(tmp_path / "images.npz")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["network", "resnet20", "resnet20", "lenet5-mrfi"]
    assert [line.endswith("91.5%") for line in lines] == [False, False, True, False]
    assert max(map(len, lines)) <= 80


@pytest.mark.slow
def test_accuracy_of_the_keras_twin_is_measured_beside_it(tmp_path: Path) -> None:
    pytest.importorskip("keras", reason="needs the extra [keras]")
    generator = np.random.default_rng(0)
    np.savez(tmp_path / "images.npz", images=generator.integers(0, 256, (9, 32, 32, 3), np.uint8), labels=np.arange(9))
    torch.save(architecture("resnet20").build().state_dict(), tmp_path / "net.pt")
    rows = list(
        measure(architecture("resnet20"), tmp_path / "net.pt", [tmp_path / "images.npz"], 6, ("pytorch", "keras"))
    )
    assert [(row.framework, row.images, row.published) for row in rows] == [
        ("pytorch", 6, None), ("pytorch", 6, 0.915), ("keras", 6, None), ("keras", 6, 0.915),
    ]  # fmt: skip
    assert [row.right for row in rows[:2]] == [row.right for row in rows[2:]]


def test_a_missing_framework_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "models.accuracy")
    assert main(["accuracy", "resnet20=net.th", "--data", str(tmp_path)]) == 2
    assert "pip install -e '.[pytorch]'" in capsys.readouterr().err


def test_accuracy_without_labels_or_of_other_classes_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(architecture("lenet5").build().state_dict(), tmp_path / "net.pt")
    words = ["accuracy", f"lenet5={tmp_path / 'net.pt'}", "--data", str(tmp_path / "images.npz")]
    for arrays, sentence in (({}, "no labels"), ({"labels": np.array([0, 10])}, "10 outputs")):
        np.savez(tmp_path / "images.npz", images=np.zeros((2, 28, 28), np.uint8), **arrays)
        assert main(words) == 2
        message = capsys.readouterr().err
        assert sentence in message
        assert message.count("\n") == 1


# Right answers on the first images of each test set, and logits of its first 100, measured by those who collected the
# weights (data/README.md there).
@pytest.mark.shared
@pytest.mark.skipif(not DATA, reason="needs ONNXFI_SHARED_DATA, the folder of published weights and images")
@pytest.mark.parametrize(
    ("name", "weights", "images", "share"),
    [
        ("resnet20", "cifar10_resnet20-12fca82f.th", "cifar10_test_0000-1999", 0.9165),
        ("resnet32", "cifar10_resnet32-d509ac18.th", "cifar10_test_0000-1999", 0.9270),
        ("lenet5-mrfi", "cifar10_lenet5_mrfi.pth", "cifar10_test_0000-1999", 0.6300),
        ("resnet20-distiller", "cifar100_resnet20_distiller.pth", "cifar100_test_2000_a", 0.7055),
        ("trafficsignnet", "gtsrb_trafficsignnet_ep5.pth", "gtsrb_test_1500_a_50x50", 0.8887),
    ],
)
def test_published_weights_have_the_stated_accuracy(name: str, weights: str, images: str, share: float) -> None:
    folder = Path(str(DATA))
    measured = next(measure(architecture(name), folder / "weights" / weights, [folder / f"images/{images}.npz"]))
    assert measured.right / measured.images == pytest.approx(share, abs=5e-5)


@pytest.mark.shared
@pytest.mark.skipif(not DATA, reason="needs ONNXFI_SHARED_DATA, the folder of published weights and images")
def test_published_weights_give_the_reference_logits() -> None:
    folder, entry = Path(str(DATA)), architecture("resnet20-distiller")
    net = entry.build()
    checkpoint.load(net, folder / "weights/cifar100_resnet20_distiller.pth")
    with np.load(folder / "images/cifar100_test_2000_a.npz") as content:
        first = torch.from_numpy(entry.normalisation.apply(content["images"][:100]))
    with np.load(folder / "reference/cifar100_resnet20_distiller_logits.npz") as content:
        assert np.abs(net(first).detach().numpy() - content["logits"]).max() <= 1e-3
