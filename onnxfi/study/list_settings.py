"""What is asked of fault lists, as frozen records: the options of `onnxfi faults`, and the arguments of the functions.

Plain data, light to import: the command line reads its defaults here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from onnxfi.errors import StudyError
from onnxfi.faults.forms import Form

ListPlan = Literal["network", "layer", "data-unaware", "data-aware"]
Generator = Literal["onnxfi", "published"]
KnownP = Literal["weights", "date23-table"]


@dataclass(frozen=True)
class Draw:
    """Which faults a list is to hold.

    plan        'network', 'layer', 'data-unaware', 'data-aware': the published statistical plans
    margin      error margin e, as a fraction
    confidence  of that margin
    p           of each bit, for a data-aware plan: 'weights' computes it, 'date23-table' is the published table
    seed        of the draw
    generator   'onnxfi': draws without replacement of our own. 'published': as the dnn-benchmarks lists were drawn,
                with Python's Mersenne Twister, t of two digits, and two stuck-at faults for each bit to draw from
    form        how indices are written: 'pytorch', 'keras'; 'auto': as the framework that the model is from has them
    """

    plan: ListPlan = "network"
    margin: float = 0.01
    confidence: float = 0.99
    p: KnownP = "date23-table"
    seed: int = 0
    generator: Generator = "onnxfi"
    form: Form = "auto"

    def __post_init__(self) -> None:
        if not 0 < self.margin < 1:
            raise StudyError(f"--margin is {self.margin}; give a fraction between 0 and 1, such as 0.01.")
        if not 0 < self.confidence < 1:
            raise StudyError(f"--confidence is {self.confidence}; give a fraction between 0 and 1, such as 0.99.")
        if self.seed < 0:
            raise StudyError(f"--seed is {self.seed}; give 0 or more.")


@dataclass(frozen=True)
class Meet:
    """How the names and indices of a list lead into a model.

    form        'pytorch', indices (o, i, h, w); 'keras', (h, w, i, o); 'auto': the one that all rows fit
    match       a CSV file of layer names, `PT,TF`: the list has the names of one column, the model those of the other
    names_from  another ONNX file of the same network that has the list's names; its weights are found here by value
    """

    form: Form = "auto"
    match: Path | str | None = None
    names_from: Path | str | None = None
