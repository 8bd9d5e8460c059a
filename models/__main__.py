"""`python -m models list | export | accuracy | train`: exit code 0 done, 1 not good enough, 2 wrong input."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from converters.__main__ import NEEDED
from models.registry import ARCHITECTURES, Framework, architecture
from onnxfi.errors import OnnxfiError


def main(arguments: list[str] | None = None) -> int:
    """Runs one verb; returns the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == ["export"]:
        return _export(words[1:])
    options = _parser().parse_args(words)
    try:
        return VERBS[options.verb](options)
    except OnnxfiError as problem:
        print(f"error: {problem}", file=sys.stderr)
    except ModuleNotFoundError as problem:
        extra = NEEDED.get(str(problem.name).partition(".")[0])
        if extra is None:
            raise
        print(f"error: this needs {problem.name}: pip install -e '.[{extra}]'", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m models", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("list", help="the architectures, their inputs and data sets")
    verbs.add_parser("export", help="one architecture as ONNX: python -m models export NAME --checkpoint F -o out.onnx")
    accuracy = verbs.add_parser("accuracy", help="top-1 of checkpoints on given images, beside the published figures")
    accuracy.add_argument(
        "networks", nargs="+", type=_pair, metavar="NAME=CHECKPOINT", help="an architecture, its weights"
    )
    accuracy.add_argument(
        "--data",
        type=Path,
        action="append",
        required=True,
        metavar="F",
        help="labelled images, as onnxfi takes them; may be repeated",
    )
    accuracy.add_argument("--images", type=int, metavar="N", help="N images, drawn in proportion to the classes (all)")
    accuracy.add_argument("--keras", action="store_true", help="also in Keras, with the same weights")
    train = verbs.add_parser("train", help="train the bundled model on Fashion-MNIST and write onnxfi/bundled")
    train.add_argument("--data", type=Path, metavar="DIR", help="the four .gz files of Fashion-MNIST")
    train.add_argument("--epochs", type=int, help="passes over the 60,000 training images (20)")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--threads", type=int, default=2, help="CPU threads; another number gives other weights (2)")
    train.add_argument("--checkpoint", type=Path, default=Path("build/fashion_resnet8.pt"), metavar="F")
    train.add_argument("--trained", action="store_true", help="take --checkpoint as it is and only write the bundle")
    train.add_argument("--bundle", type=Path, default=Path("onnxfi/bundled"), metavar="DIR")
    twin = verbs.add_parser("twin", help="write the bundled model's Keras twin again, from the bundled file")
    twin.add_argument("--bundle", type=Path, default=Path("onnxfi/bundled"), metavar="DIR")
    return parser


def _pair(text: str) -> tuple[str, Path]:
    name, sign, path = text.partition("=")
    if not sign:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=CHECKPOINT, such as resnet20=ResNet20.th")
    return name, Path(path)


def _list(_: argparse.Namespace) -> int:
    for entry in ARCHITECTURES.values():
        shape = "x".join(map(str, entry.shape))
        print(f"{entry.name:20}  {entry.dataset:13}  {shape:9}  {entry.about}")
    return 0


def _export(words: list[str]) -> int:
    """The same as `python -m converters pytorch --arch`."""
    from converters.__main__ import main as convert

    return convert(["pytorch", *(["--arch", *words] if words[:1] and not words[0].startswith("-") else words)])


def _train(options: argparse.Namespace) -> int:
    from models import bundle, fashion

    data = options.data or fashion.FOLDER
    if not options.trained:
        bundle.train(options.checkpoint, data, options.epochs, options.seed, options.threads)
    return bundle.write(options.bundle, options.checkpoint, data)


def _accuracy(options: argparse.Namespace) -> int:
    from models.accuracy import HEADER, measure

    frameworks: tuple[Framework, ...] = ("pytorch", "keras") if options.keras else ("pytorch",)
    print(HEADER)
    for name, weights in options.networks:
        for row in measure(architecture(name), weights, options.data, options.images, frameworks):
            print(row, flush=True)
    return 0


def _twin(options: argparse.Namespace) -> int:
    from models import twin

    print(twin.write(options.bundle))
    return 0


VERBS = {"list": _list, "accuracy": _accuracy, "train": _train, "twin": _twin}


if __name__ == "__main__":
    sys.exit(main())
