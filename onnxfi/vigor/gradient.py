"""The gradient test of DeepVigor+ (boxes 4 and 5 of its Fig. 5), the only file of onnxfi that runs a framework.

The deviation 1 (or -1) is added to the target, a channel or a neuron; the loss L is the sum over classes j of E_t - E_j
with t the golden class (the authors' code takes the sigmoid of each difference, which only adds zeros where it
saturates). If dL/d(target) is zero at every place of the target, its search is left out and no deviation up to 2^10 is
taken to be critical. That is unsound: behind a ReLU, a max-pool or a sigmoid a gradient is zero at 1 and not farther
out. So some of the sides that were skipped are searched all the same, and what that finds is told.

The tail from the target is converted by onnx2torch, which knows old opsets only: at its own opset, or else at 17.
"""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from onnxfi.engine.deviation import Deviations
from onnxfi.errors import ModelError, StudyError
from onnxfi.graph.network import Network
from onnxfi.graph.older import older, without_nan_safety

Array = NDArray[Any]
_OPSET = 17
_ROWS = 128
_OFF = 1e-3  # of the largest logit: how far the converted tail may be from the golden logits


@dataclass(frozen=True)
class Skips:
    """What the test did. Counts and sums add.

    sides    that were skipped, two a pair; `audited` of them were searched all the same
    wrong    of those, sides with a critical deviation after all; missed: the sum of the VF that they have
    """

    sides: int = 0
    audited: int = 0
    wrong: int = 0
    missed: float = 0.0

    def __add__(self, other: Skips) -> Skips:
        return Skips(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))


NO_SKIPS = Skips()


def check(network: Network) -> None:
    """Raises StudyError where the extra is not installed, or where the model cannot be converted."""
    _converted(network.model, network.path.name)


class Slopes:
    """Gradients of the loss with regard to the words that one layer's op writes."""

    _known: ClassVar[WeakKeyDictionary[Deviations, dict[int, Slopes]]] = WeakKeyDictionary()

    def __init__(self, engine: Deviations, region: int) -> None:
        self._engine, self._region = engine, region
        self._tensor = engine.regions[region].tensor
        piece = engine.piece(region)
        self._names = (*piece.inputs, *piece.crossing)
        # Of the last layer nothing is left to convert: its words are the logits.
        what = f"the part of the model after {self._tensor!r}"
        self._model = _converted(piece.model, what) if piece.nodes else lambda words: words
        some = np.arange(min(8, engine.images))
        with _one_thread():
            logits = self._logits(some, _library("torch").from_numpy(engine.read(self._tensor, some))).detach().numpy()
        wanted = engine.golden_logits[some]
        if not np.abs(logits - wanted).max() <= _OFF * (np.abs(wanted).max() + 1e-30):
            raise StudyError(
                f"onnx2torch's copy of the part after {self._tensor!r} gives other logits than the model: "
                "leave --gradient-test out."
            )

    @classmethod
    def of(cls, engine: Deviations, region: int) -> Slopes:
        """Those of the `region`-th region (kind output), converted once an engine."""
        mine = cls._known.setdefault(engine, {})
        if region not in mine:
            mine[region] = cls(engine, region)
        return mine[region]

    def none(self, image: Array, places: Array, delta: float) -> NDArray[np.bool_]:
        """Whether the gradient is zero at all `places` (T, M), flat in the row, with `delta` added there; bool (T,)."""
        with _one_thread():
            parts = [
                self._none(image[start : start + _ROWS], places[start : start + _ROWS], delta)
                for start in range(0, len(image), _ROWS)
            ]
        return np.concatenate(parts)

    def _none(self, image: Array, places: Array, delta: float) -> NDArray[np.bool_]:
        torch = _library("torch")
        rows = np.array(self._engine.read(self._tensor, image))
        own = np.arange(len(rows))[:, None]
        rows.reshape(len(rows), -1)[own, places] += rows.dtype.type(delta)
        words = torch.from_numpy(rows).requires_grad_(True)
        logits = self._logits(image, words)
        golden = torch.from_numpy(self._engine.golden_class[image].astype(np.int64))
        loss = logits.shape[1] * logits.gather(1, golden[:, None]).sum() - logits.sum()
        (slope,) = torch.autograd.grad(loss, words)
        found = slope.numpy().reshape(len(rows), -1)[own, places]
        return np.asarray((found == 0).all(axis=1))

    def _logits(self, image: Array, words: Any) -> Any:
        """Logits, a tensor (T, C), with `words`, a tensor (T, *row), at the cut."""
        torch, engine = _library("torch"), self._engine
        fed = [
            words if name == self._tensor else torch.from_numpy(np.array(engine.read(name, image)))
            for name in self._names
        ]
        return self._model(*fed).reshape(len(image), -1)


class _one_thread:  # noqa: N801
    """Torch on one thread, as everything here; what it was before, afterwards."""

    def __enter__(self) -> None:
        torch = _library("torch")
        self._before = torch.get_num_threads()
        torch.set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        _library("torch").set_num_threads(self._before)


def _converted(model: Any, what: str) -> Any:
    """`model` as a torch module. Raises StudyError."""
    convert = _library("onnx2torch").convert
    plain, why = without_nan_safety(model), ""
    for opset in (None, _OPSET):
        try:
            asked = plain if opset is None else older(plain, opset)
        except ModelError:
            break
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return convert(asked).eval()
        except Exception as error:  # whatever the converter meets with
            why = " ".join(f"{error}".split()) or type(error).__name__
    raise StudyError(f"onnx2torch cannot convert {what} ({why}): leave --gradient-test out.")


def _library(name: str) -> Any:
    """torch or onnx2torch. Raises StudyError where they are not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return importlib.import_module(name)
            except RuntimeError as error:
                if "torchvision::nms" not in str(error):
                    raise
                _stand_in_for_torchvision()
                return importlib.import_module(name)
    except ImportError as error:
        raise StudyError(
            f"--gradient-test needs torch and onnx2torch ({error}): pip install 'onnxfi[gradient]'."
        ) from error


_kept: list[Any] = []


def _stand_in_for_torchvision() -> None:
    """onnx2torch imports torchvision, which does not import where it was built for another torch than there is (with
    CUDA, say, beside one without): its ops are missing. They are declared here; nothing converted calls them."""
    library = importlib.import_module("torch").library.Library("torchvision", "DEF")
    for op in ("nms", "qnms"):
        library.define(f"{op}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _kept.append(library)
