"""What is asked of two models, as a frozen record: plain data, light to import."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from onnxfi.errors import FaultError, StudyError
from onnxfi.study.list_settings import Meet
from onnxfi.study.settings import Data, Machine, Plan, Precision, Target
from onnxfi.vigor.settings import Listener as Searching
from onnxfi.vigor.settings import Question, Sampling

if TYPE_CHECKING:
    from onnxfi.study.conduct import Listener


@dataclass(frozen=True)
class Asking:
    """What is asked of two models.

    a, b            their files
    data_a, data_b  the images of each: the same ones, which each may want preprocessed in its own way
    target          which faults; activations are the words that layers read
    plan            which of them are drawn, in the first model
    precision       how far that goes
    output_b        the second model's output to look at; the first's is in `target`
    faults          a fault list, whose rows are repeated in both in the place of drawn faults; `meet`: how it is read
    sampling        DeepVigor+ of both, too, so much of it; None: not
    """

    a: Path
    b: Path
    data_a: Data
    data_b: Data
    target: Target = field(default_factory=lambda: Target(kind="weights"))
    plan: Plan = field(default_factory=Plan)
    precision: Precision = field(default_factory=Precision)
    machine: Machine = field(default_factory=Machine)
    output_b: str | None = None
    faults: Path | None = None
    meet: Meet = field(default_factory=Meet)
    sampling: Sampling | None = None

    def __post_init__(self) -> None:
        if self.target.kind != "weights" and self.target.activation != "input":
            raise FaultError("Parity repeats faults of words that are stored: take --activation input.")
        if self.target.parameters != "weights":
            raise FaultError("Parity matches weights, not biases or BatchNormalization: take parameters='weights'.")
        if self.plan.shard is not None or self.machine.scheduler is not None:
            raise StudyError("Parity runs whole and on this machine: leave --shard and --scheduler out.")

    @property
    def id(self) -> str:
        """Eight digits that tell one question from another, how far and how fast it goes left out."""
        machine = self.machine.exact, self.machine.provider
        told = (self.data_a, self.data_b, self.target, self.plan, machine, self.output_b, self.faults, self.meet)
        digest = hashlib.sha256(repr(told).encode())
        for path in (self.a, self.b):
            if path.is_file():
                digest.update(path.read_bytes())
        return digest.hexdigest()[:8]

    @property
    def targets(self) -> tuple[Target, Target]:
        """What is asked of either model. An initializer that several nodes read is split: exporters share at will."""
        first = replace(self.target, unshare=True)
        return first, replace(first, output=self.output_b, layers=())

    @property
    def questions(self) -> tuple[Question, Question]:
        """Of DeepVigor+."""
        first, second = self.targets
        sampling = self.sampling or Sampling()
        return (
            Question(first, self.data_a, sampling, self.precision.confidence, self.machine),
            Question(second, self.data_b, sampling, self.precision.confidence, self.machine),
        )


@dataclass(frozen=True)
class Watch:
    """Who is told how far it is.

    clean      images that a model has run without faults, and all there are
    studies    as `analyze` tells
    lists      the folder, trials done, all there are, trials a second
    searching  as `vigor` tells
    """

    clean: Callable[[int, int], None] | None = None
    studies: Listener | None = None
    lists: Callable[[Path, int, int, float], None] | None = None
    searching: Searching | None = None
