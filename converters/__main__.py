"""`python -m converters pytorch | keras`: exit code 0 exported and checked, 1 the check failed, 2 wrong input."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from onnxfi.errors import OnnxfiError

NEEDED = {
    "torch": "pytorch", "onnxscript": "pytorch", "onnx_ir": "pytorch",
    "keras": "keras", "tensorflow": "keras", "tf2onnx": "keras", "h5py": "keras",
}  # fmt: skip
"""{package: the extra that installs it}"""


def main(arguments: list[str] | None = None) -> int:
    """Runs one converter; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return _pytorch(options) if options.framework == "pytorch" else _keras(options)
    except OnnxfiError as problem:
        print(f"error: {problem}", file=sys.stderr)
    except ModuleNotFoundError as problem:
        extra = NEEDED.get(str(problem.name).partition(".")[0])
        if extra is None:
            raise
        print(f"error: this conversion needs {problem.name}: pip install -e '.[{extra}]'", file=sys.stderr)
    return 2


def _pytorch(options: argparse.Namespace) -> int:
    from converters.run import pytorch

    return pytorch(options)


def _keras(options: argparse.Namespace) -> int:
    from converters.keras.run import run

    return run(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m converters", description=__doc__)
    frameworks = parser.add_subparsers(dest="framework", required=True)
    _add_pytorch(frameworks.add_parser("pytorch", help="a PyTorch network as ONNX, its weights as PyTorch stores them"))
    _add_keras(frameworks.add_parser("keras", help="a Keras network as ONNX, its weights as Keras stores them"))
    return parser


def _add_pytorch(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--arch", help="an architecture of `python -m models list`")
    which.add_argument("--module", metavar="PACKAGE.MODULE:FUNCTION", help="a function that returns an nn.Module")
    parser.add_argument("--checkpoint", type=Path, metavar="F", help="a state dict, or a dict with one in 'state_dict'")
    parser.add_argument("--random", type=int, metavar="SEED", help="no checkpoint: weights drawn with this seed")
    parser.add_argument("--input-shape", type=_integers, metavar="C,H,W", help="needed with --module")
    parser.add_argument("--opset", type=int, default=20, help="18 to 26 (20)")
    _add_common(parser)


def _add_keras(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "source", nargs="?", metavar="SOURCE",
        help="net.keras, net.h5, package.module:function that returns a keras.Model, or applications:NAME",
    )  # fmt: skip
    which.add_argument("--arch", help="an architecture of `python -m models list`")
    parser.add_argument(
        "--checkpoint", type=Path, metavar="F",
        help="weights that Keras saved (.h5, .keras); with --arch also PyTorch's, copied name by name",
    )  # fmt: skip
    parser.add_argument("--random", type=int, metavar="SEED", help="no checkpoint: weights drawn with this seed")
    parser.add_argument("--input-shape", type=_integers, metavar="H,W,C", help="where the network leaves it open")
    parser.add_argument("--opset", type=int, default=18, help="13 to 18 (18)")
    _add_common(parser)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="out.onnx")
    parser.add_argument("--folded", action="store_true", help="BatchNormalization folded into the convolutions")
    parser.add_argument("--images", type=Path, metavar="data.npz", help="check on these uint8 images, not random ones")
    parser.add_argument("--mean", type=_floats, metavar="F,F,F", help="the normalisation, where the registry's is not")
    parser.add_argument("--std", type=_floats, metavar="F,F,F", help="the right one: (uint8 * scale - mean) / std")
    parser.add_argument("--scale", type=float, help="1/255 unless given")


def _integers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def _floats(text: str) -> tuple[float, ...]:
    return tuple(map(float, text.split(",")))


if __name__ == "__main__":
    sys.exit(main())
