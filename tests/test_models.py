"""The architectures, the checkpoints that load into them, and the bundled model as it is shipped."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip("torch", reason="needs the extra [pytorch]")
torch.set_num_threads(1)  # small networks: more threads only wait for each other

from models import checkpoint, fashion  # noqa: E402
from models.__main__ import main  # noqa: E402
from models.normalisation import FASHION_MNIST, Normalisation  # noqa: E402
from models.pytorch.resnet import PadShortcut, small  # noqa: E402
from models.registry import ARCHITECTURES, architecture  # noqa: E402
from models.train import Recipe, augmented, train  # noqa: E402
from onnxfi import bundled  # noqa: E402
from onnxfi.errors import DataError, ModelError  # noqa: E402


# He et al. 2016 (arXiv:1512.03385), table 6, as parameters: akamaster's README gives 0.27, 0.46, 0.66, 0.85, 1.7 M.
@pytest.mark.parametrize(
    ("name", "millions"), [("resnet20", 0.27), ("resnet32", 0.46), ("resnet44", 0.66), ("resnet56", 0.85)]
)
def test_cifar_resnets_have_the_published_sizes(name: str, millions: float) -> None:
    assert sum(p.numel() for p in architecture(name).build().parameters()) == pytest.approx(millions * 1e6, abs=5e3)


def test_pad_shortcut_by_hand() -> None:
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    y = PadShortcut(1, 3, 2)(x)
    assert y[0, 1].tolist() == [[0, 2], [8, 10]]
    assert not y[0, [0, 2]].any()


def test_a_depth_that_is_not_6k_plus_2_is_refused() -> None:
    with pytest.raises(ValueError, match="6k"):
        small((3, 32, 32), 10, 21)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ModelError, match="resnet20"):
        architecture("resnet21")


def test_normalisation_by_hand() -> None:
    by = Normalisation((0.5,), (0.25,), 1 / 100)
    image = np.array([[[0, 50], [75, 100]]], np.uint8)
    assert by.apply(image).tolist() == [[[[-2, 0], [1, 2]]]]


def test_normalisation_refuses_other_forms() -> None:
    with pytest.raises(DataError, match="channels"):
        Normalisation((0.5, 0.5), (1, 1)).apply(np.zeros((1, 2, 2, 3), np.uint8))
    with pytest.raises(DataError, match="uint8"):
        FASHION_MNIST.apply(np.zeros((1, 2, 2)))  # type: ignore[arg-type]


@pytest.mark.parametrize(("mean", "std"), [((0.5, 0.5), (1.0,)), ((0.5,), (0.0,))])
def test_normalisation_needs_a_mean_and_a_std_a_channel(mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    with pytest.raises(DataError, match="one number a channel"):
        Normalisation(mean, std)


@pytest.mark.parametrize("key", ["state_dict", "net"])
def test_checkpoint_with_a_key_and_module_prefix_loads(tmp_path: Path, key: str) -> None:
    net, other = architecture("resnet20").build(), architecture("resnet20").build()
    content = {key: {f"module.{name}": value for name, value in net.state_dict().items()}, "best_prec1": 1.0}
    torch.save(content, tmp_path / "net.th")
    checkpoint.load(other, tmp_path / "net.th")
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), other.state_dict().values(), strict=True))


def test_checkpoint_of_another_architecture_is_refused(tmp_path: Path) -> None:
    torch.save(architecture("resnet32").build().state_dict(), tmp_path / "net.th")
    with pytest.raises(ModelError, match="does not fit this architecture"):
        checkpoint.load(architecture("resnet20").build(), tmp_path / "net.th")


def test_a_lfs_pointer_says_how_to_mend_it(tmp_path: Path) -> None:
    (tmp_path / "net.th").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(ModelError, match="git lfs pull"):
        checkpoint.read(tmp_path / "net.th")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 torn"])
def test_a_file_that_is_no_checkpoint_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "net.th").write_bytes(content)
    with pytest.raises(ModelError, match="is not a PyTorch checkpoint"):
        checkpoint.read(tmp_path / "net.th")


def test_a_missing_checkpoint_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        checkpoint.read(tmp_path / "none.th")


def test_augmented_images_are_moved_and_mirrored_originals() -> None:
    image = torch.zeros(1, 1, 9, 9)
    image[0, 0, 4, 3] = 1.0
    moved = augmented(image.repeat(400, 1, 1, 1), torch.Generator().manual_seed(0))
    seen = {tuple(place[1:]) for place in moved[:, 0].nonzero().tolist()}
    # Row 4 moved by -2..2; column 3 moved, or its mirror image, column 5.
    assert seen == {(row, column) for row in range(2, 7) for column in range(1, 8)}
    assert moved.sum() == 400


def test_training_is_seeded() -> None:
    random = np.random.default_rng(0)
    data = fashion.Split(random.integers(0, 256, (48, 28, 28), np.uint8), random.integers(0, 10, 48, np.uint8))
    losses = []
    for _ in range(2):
        torch.manual_seed(1)
        net = architecture("fashion-resnet8").build()
        losses.append([loss for _, loss, _ in train(net, data, FASHION_MNIST, Recipe(epochs=1, batch=16))])
    assert losses[0] == losses[1]


def test_fashion_mnist_files_are_read(tmp_path: Path) -> None:
    images = np.arange(2 * 28 * 28, dtype=np.uint64).astype(np.uint8).reshape(2, 28, 28)
    header = bytes((0, 0, 8, 3)) + np.array(images.shape, ">i4").tobytes()
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + images.tobytes()))
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(bytes((0, 0, 8, 1, 0, 0, 0, 2, 7, 9))))
    split = fashion.load("t10k", tmp_path)
    assert np.array_equal(split.images, images)
    assert split.labels.tolist() == [7, 9]


def test_missing_or_torn_fashion_mnist_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dataset-fashion-mnist"):
        fashion.load("train", tmp_path)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes((0, 0, 8, 3, 0, 0))))
    with pytest.raises(DataError, match="not an IDX file"):
        fashion.load("train", tmp_path)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"torn")
    with pytest.raises(DataError, match="cannot be read"):
        fashion.load("train", tmp_path)


def test_first_of_each_class_by_hand() -> None:
    labels = np.array([*range(10), *range(10), *range(10)], np.uint8)
    assert fashion.first_of_each_class(labels, 2).tolist() == list(range(20))


def test_list_names_them_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(ARCHITECTURES)
    assert max(map(len, lines)) <= 80


def test_train_without_data_is_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--data", str(tmp_path), "--checkpoint", str(tmp_path / "net.pt")]) == 2
    assert "dataset-fashion-mnist" in capsys.readouterr().err


def test_bundled_accuracy_is_what_its_page_says() -> None:
    folder = bundled.model_path().parent
    facts = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    stated = facts["normalisation"]
    by = Normalisation(tuple(stated["mean"]), tuple(stated["std"]), stated["scale"])
    with np.load(bundled.data_path()) as data:
        images, labels, classes = data["images"], data["labels"], data["classes"]
    session = onnxruntime.InferenceSession(bundled.model_path(), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"input": by.apply(images)})
    assert [int((np.asarray(logits).argmax(1) == labels).sum()), len(labels)] == facts["right"]["shipped"]
    assert tuple(classes) == fashion.CLASSES
    assert np.bincount(labels).tolist() == [50] * 10
    right, test = facts["right"]["test"]
    assert test == 10_000
    assert right >= 9_100
    assert f"{right / test:.2%}" in (folder / "README.md").read_text(encoding="utf-8")


def test_bundle_is_small() -> None:
    files = [path for path in bundled.model_path().parent.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 1_500_000
