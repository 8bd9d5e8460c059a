"""The bundled demonstration model: trained, measured, exported, and put beside a few of its test images."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from converters.run import convert
from models import checkpoint, fashion
from models.normalisation import Normalisation
from models.registry import Architecture, architecture
from models.train import Recipe
from models.train import train as run
from models.twin import NAME
from models.twin import write as write_twin
from onnxfi.bundled import data_path, model_path
from onnxfi.errors import ModelError

MODEL, DATA = model_path().name, data_path().name
PER_CLASS = 50
GOAL = 0.91  # top-1 on the 10,000 test images


def train(path: Path, data: Path, epochs: int | None, seed: int, threads: int) -> None:
    """Trains the network on the images in folder `data` and saves it, with how it was made, as `path`."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    recipe = Recipe(seed=seed) if epochs is None else Recipe(seed=seed, epochs=epochs)
    entry = architecture(NAME)
    net = entry.build()
    images = fashion.load("train", data)
    seconds = 0.0
    for epoch, loss, seconds in run(net, images, entry.normalisation, recipe):
        print(f"epoch {epoch:2} of {recipe.epochs}: loss {loss:.4f}, {seconds / 60:.1f} minutes", flush=True)
    made = {**dataclasses.asdict(recipe), "threads": threads, "minutes": round(seconds / 60, 1)}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": net.state_dict(), "recipe": made | {"torch": str(torch.__version__)}}, path)


def write(folder: Path, weights: Path, data: Path) -> int:
    """Writes model, Keras twin, images, bundle.json and README.md into `folder`; prints the accuracy.

    Returns 0, or 1 if the export is not the trained network or its accuracy on the test set is below GOAL.
    """
    entry = architecture(NAME)
    content = checkpoint.read(weights)
    if "recipe" not in content:
        raise ModelError(f"{weights} does not say how it was trained; make it with `python -m models train`")
    net = entry.build()
    checkpoint.load(net, weights)
    test = fashion.load("t10k", data)
    picks = fashion.first_of_each_class(test.labels, PER_CLASS)
    report = convert(net, entry.shape, folder / MODEL, entry.normalisation, entry.normalisation.apply(test.images[:17]))
    _write_images(folder / DATA, test, picks)
    right = _right(folder / MODEL, test, entry.normalisation)
    facts = _facts(entry, content["recipe"], right, picks) | {"twin": write_twin(folder)}
    (folder / "bundle.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_readme(facts), encoding="utf-8")
    print(f"{report}\n{_accuracy(facts)}")
    return 0 if report.passed and right.mean() >= GOAL else 1


def _write_images(path: Path, test: fashion.Split, picks: fashion.Indices) -> None:
    np.savez_compressed(
        path, images=test.images[picks], labels=test.labels[picks], index=picks.astype(np.int32),
        classes=np.array(fashion.CLASSES),
    )  # fmt: skip


def _right(model: Path, test: fashion.Split, by: Normalisation) -> fashion.Flags:
    """Whether ONNX Runtime's top-1 is the label: bool (N,)."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    parts: list[fashion.Indices] = []
    for images in np.array_split(test.images, 20):
        (logits,) = session.run(None, {session.get_inputs()[0].name: by.apply(images)})
        parts.append(np.asarray(logits).argmax(1))
    right: fashion.Flags = np.concatenate(parts) == test.labels
    return right


def _facts(entry: Architecture, recipe: dict[str, Any], right: fashion.Flags, picks: fashion.Indices) -> dict[str, Any]:
    return {
        "architecture": entry.name,
        "model": MODEL,
        "images": DATA,
        "right": {"test": [int(right.sum()), len(right)], "shipped": [int(right[picks].sum()), len(picks)]},
        "normalisation": dataclasses.asdict(entry.normalisation),
        "recipe": recipe,
        "data": {"source": fashion.SOURCE, "licence": "MIT"},
    }


def _accuracy(facts: dict[str, Any]) -> str:
    (right, test), (right_shipped, shipped) = facts["right"]["test"], facts["right"]["shipped"]
    return (
        f"top-1 {right / test:.2%} on the whole test set ({right:,} of {test:,}), "
        f"{right_shipped / shipped:.1%} on the images shipped ({right_shipped} of {shipped})"
    )


def _readme(facts: dict[str, Any]) -> str:
    recipe, by, twin = facts["recipe"], facts["normalisation"], facts["twin"]
    return README.format(
        model=MODEL, data=DATA, accuracy=_accuracy(facts), source=fashion.SOURCE, licence=fashion.LICENCE,
        mean=by["mean"][0], std=by["std"][0], per_class=PER_CLASS, **recipe,
        twin=twin["model"], keras=twin["keras"], tf2onnx=twin["tf2onnx"], difference=twin["difference"],
    )  # fmt: skip


README = """\
# The demonstration model

Written by `python -m models train`; `bundle.json` has the same facts for programs.

- `{model}`: a residual network of three stages (16, 32, 64 channels), one block each, for 28x28 grey images;
  77,754 parameters; BatchNormalization kept as it was trained; input `input` float32 (N, 1, 28, 28), output `logits`.
- `{twin}`: its twin in Keras, the same weights copied name by name, exported with Keras {keras} and
  tf2onnx {tf2onnx}; input `input` float32 (N, 28, 28, 1), output `logits`. On the images shipped the logits differ by
  at most {difference:.1e}, the classes by none. `python -m models twin` writes it again from the file above.
- `{data}`: the first {per_class} test images of each class, in the order of the test set: `images` uint8 (500, 28, 28),
  `labels` uint8, `index` (place in the test set), `classes`.
- Accuracy: {accuracy}.
- Input: (uint8 / 255 - {mean}) / {std}; the model's metadata says so too.
- Training: PyTorch {torch} on the CPU, {threads} threads, seed {seed}, {epochs} epochs in {minutes} minutes; SGD with
  one cosine, batch {batch}; images mirrored and moved by up to 2 pixels; the 60,000 training images only.
- Data: {source}.

## Licence of the images

{licence}"""
