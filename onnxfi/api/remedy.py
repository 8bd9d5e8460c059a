"""A hardened model, and the proof of what its guards bring: `onnxfi protect` from Python."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnxfi.engine.installed import check
from onnxfi.protect.ask import Remedy
from onnxfi.study.settings import Data, Machine

_RUNS = Path("onnxfi-run")


@dataclass(frozen=True)
class Hardened:
    """What `protect` did: the hardened model, None where nothing helps; the folder with all that was found; and the
    object of its protect.json, documented in onnxfi.report.protect."""

    model: Path | None
    folder: Path
    facts: dict[str, Any]


def protect(
    model: Path | str | None = None,
    *,
    data: Data | None = None,
    remedy: Remedy | None = None,
    machine: Machine | None = None,
    output: Path | str | None = None,
    out: Path | str | None = None,
    progress: Callable[[str, int], None] | None = None,
) -> Hardened:
    """Write a model with guards against bit flips, and analyse it beside the original on images not used for bounds.

    model     an ONNX file; None: the bundled model, on the bundled images unless `data` names others
    data      images, and how they are preprocessed: some for bounds and plan, the others for the proof
    remedy    which guards, at what cost, and how surely that is known (onnxfi.protect.ask)
    machine   where it runs
    output    the hardened model. None: MODEL-hardened.onnx in the current folder
    out       the folder of the report. None: onnxfi-run/MODEL-protect
    progress  called with what is being done, and how many faults of it are done

    Raises ModelError, DataError, FaultError, ProviderError, EngineError, StudyError: one sentence each.
    """
    check()
    from onnxfi.bundled.stand_in import stand_in
    from onnxfi.protect.harden import protect as harden
    from onnxfi.report import protect as told
    from onnxfi.report.protect_page import page

    path, images = stand_in(model, data or Data())
    target = Path(output) if output is not None else Path(f"{Path(path).stem}-hardened.onnx")
    folder = Path(out) if out is not None else _RUNS / f"{Path(path).stem}-protect"
    done = harden(path, images, target, remedy or Remedy(), machine or Machine(), progress or (lambda what, done: None))
    found = told.facts(done)
    told.write(folder, done, found, page(found))
    return Hardened(done.hardened, folder, found)
