"""What is asked of a DeepVigor+ or DeepVigor analysis, as frozen records: plain data, light to import."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from onnxfi.errors import StudyError
from onnxfi.study.settings import Data, Machine, Target

Method = Literal["deepvigor+", "deepvigor"]
Listener = Callable[[str, int, int], None]
"""Told the layer at work, how many pairs of site and image were decided so far, and how many there are."""


@dataclass(frozen=True)
class Sampling:
    """How much of a network is looked at.

    channels  share of each layer's channels, and of each of these the base-2 logarithm of its sites (Eq. 16 of
              DeepVigor+, both rounded up); None: every site of every channel
    images    so many images for each site, spread evenly; None: all
    seed      of every draw
    sites     so many sites of each channel that is taken, in the place of the logarithm
    """

    channels: float | None = None
    images: int | None = None
    seed: int = 0
    sites: int | None = None

    def __post_init__(self) -> None:
        if self.channels is not None and not 0 < self.channels <= 1:
            raise StudyError(f"--channel-sampling-ratio is {self.channels}; give a fraction above 0, at most 1.")
        if self.images is not None and self.images < 1:
            raise StudyError(f"--site-images is {self.images}; give at least 1.")
        if self.sites is not None and (self.sites < 1 or self.channels is None):
            raise StudyError(
                "--channel-sites needs --channel-sampling-ratio, and at least 1: how many of each channel."
            )
        if self.seed < 0:
            raise StudyError(f"--seed is {self.seed}; give 0 or more.")


@dataclass(frozen=True)
class Experiments:
    """What is made of a complete analysis beside its answer: the papers' experiments, with nothing run again.

    ratios   shares of the channels: how far samples of so many are off, and what they would take (Tables IV, VII, VIII)
    repeats  how many samples of each
    batches  into so many parts the images are parted, to see how far these are apart (Fig. 10)
    """

    ratios: tuple[float, ...] = ()
    repeats: int = 50
    batches: int | None = None

    def __post_init__(self) -> None:
        for ratio in self.ratios:
            if not 0 < ratio <= 1:
                raise StudyError(f"--sampling-ratios has {ratio}; give fractions above 0, at most 1.")
        if self.repeats < 1:
            raise StudyError(f"--repeats is {self.repeats}; give at least 1.")
        if self.batches is not None and self.batches < 2:
            raise StudyError(f"--image-batches is {self.batches}; give at least 2.")

    def check(self, sampling: Sampling) -> None:
        """Raises StudyError, before an analysis, where `sampling` leaves out what they need."""
        if self.ratios and (sampling.channels is not None or sampling.images is not None):
            raise StudyError(
                "Samples are compared with a complete analysis: leave --channel-sampling-ratio and --site-images out."
            )
        if self.batches is not None and sampling.images is not None:
            raise StudyError("Batches of images need every image at every site: leave --site-images out.")


@dataclass(frozen=True)
class Question:
    """What is asked of a network.

    target      which faults; only bit flips
    data        which images
    sampling    how much of it is looked at
    confidence  of every interval
    machine     where it runs
    paper       DeepVigor+ as its paper has it, powers of two and all; activations are `mac`
    gradient_test  of the paper: sides with a zero gradient are not searched; needs the extra `gradient`
    """

    target: Target
    data: Data
    sampling: Sampling = Sampling()
    confidence: float = 0.99
    machine: Machine = field(default_factory=Machine)
    paper: bool = False
    gradient_test: bool = False

    def __post_init__(self) -> None:
        if self.target.fault_model != "bit-flip":
            raise StudyError("DeepVigor and DeepVigor+ are about bit flips: leave --fault-model out.")
        if self.paper and (self.target.activation, self.target.parameters) != ("mac", "weights"):
            raise StudyError("The paper knows weights and --activation mac only: leave --paper or the others out.")
        if self.paper and self.sampling.images is not None:
            raise StudyError("The paper runs all images together: leave --paper or --site-images out.")
        if self.gradient_test and not self.paper:
            raise StudyError("The gradient test is the paper's: give --paper too, or leave --gradient-test out.")
        if not 0 < self.confidence < 1:
            raise StudyError(f"--confidence is {self.confidence}; give a fraction between 0 and 1, such as 0.99.")
        if self.machine.scheduler:
            raise StudyError("onnxfi vigor runs on this machine only: leave --scheduler out.")


def usual_target(method: Method, paper: bool = False) -> Target:
    """The faults that a method is about where nothing is said: DeepVigor knows the outputs of neurons, the paper of
    DeepVigor+ weights and operands."""
    if method == "deepvigor":
        return Target("activations", "output")
    return Target(activation="mac") if paper else Target()
