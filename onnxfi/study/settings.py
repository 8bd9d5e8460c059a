"""What is asked, as frozen records: the options of `onnxfi analyze`, and the arguments of `onnxfi.analyze`.

Plain data, light to import: the command line reads its defaults here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from onnxfi.errors import DataError, StudyError

TargetKind = Literal["weights", "activations", "both"]
ActivationKind = Literal["input", "output", "mac"]
ParameterKind = Literal["weights", "all"]
FaultModel = Literal["bit-flip", "stuck-at-0", "stuck-at-1"]
PlanKind = Literal["adaptive", "network", "layer", "data-unaware", "data-aware", "exhaustive"]
PStrategy = Literal["pilot", "weights", "date23-table"]
Provider = Literal["auto", "cpu", "cuda"]
Preset = Literal["cifar10", "cifar100", "gtsrb", "imagenet"]
Pixels = int | tuple[int, int]


@dataclass(frozen=True)
class Target:
    """Which faults, and at which output they are looked at. Part of a study's identity.

    kind         what can go wrong: 'weights', 'activations' or 'both'
    activation   which activation sites: 'input', the stored word that a layer reads; 'output', the word that its op
                 writes; 'mac', one operand of one output neuron. Three different questions
    parameters   which parameters: 'weights' of rank 2 and more, or 'all', biases and BatchNormalization too
    layers       globs of layer ids, one of which must match; empty: every layer
    bits         bit positions: '30', '23-30', 'sign', 'exponent', 'mantissa', joined by commas; None: all
    fault_model  'bit-flip', 'stuck-at-0' or 'stuck-at-1'
    output       the model's output to look at; None: its only one
    unshare      an initializer that several nodes read becomes one for each of them
    """

    kind: TargetKind = "both"
    activation: ActivationKind = "input"
    parameters: ParameterKind = "weights"
    layers: tuple[str, ...] = ()
    bits: str | None = None
    fault_model: FaultModel = "bit-flip"
    output: str | None = None
    unshare: bool = False


@dataclass(frozen=True)
class Data:
    """Which images, and what is done to them before the model sees them. Part of a study's identity.

    paths      .npz, .npy, image files, folders of class folders or of images with labels.csv; joined in order
    images     take a class-stratified subset of so many, drawn with the study's seed; None: all
    synthetic  no images at hand: make so many of noise. Every output says so
    preset     the preprocessing of a well-known data set; the fields below go before it
    scale      multiplies first; None: 1/255 for uint8 images, 1 otherwise, unless the model says otherwise
    mean, std  then subtracted and divided: one number, or one a channel
    resize     before all: the shorter side, or (height, width), in pixels
    crop       from the centre, after resize: a square's side, or (height, width)
    labels     a text file: on each line the name, or the id, of an output of the model, where it numbers its classes
               otherwise than the images and the groups
    label_map  likewise a text file: for each output the number of its class, or '-'; or 'background-first'
    """

    paths: tuple[Path | str, ...] = ()
    images: int | None = None
    synthetic: int | None = None
    preset: Preset | None = None
    scale: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    resize: Pixels | None = None
    crop: Pixels | None = None
    labels: str | None = None
    label_map: str | None = None

    def __post_init__(self) -> None:
        for option, number in (("--images", self.images), ("--synthetic", self.synthetic)):
            if number is not None and number < 1:
                raise DataError(f"{option} is {number}; give at least 1.")


@dataclass(frozen=True)
class Precision:
    """How far an adaptive study goes; may change when a study goes on.

    model       the larger one-sided half-width of each MVF's interval to reach, as a fraction
    layer       the same of each layer's LVF
    confidence  of every interval
    budget      stop after so many trials even if not there; None: no limit
    """

    model: float = 0.001
    layer: float = 0.01
    confidence: float = 0.99
    budget: int | None = None

    def __post_init__(self) -> None:
        for option, number in (("--precision", self.model), ("--layer-precision", self.layer)):
            if not number > 0:
                raise StudyError(f"{option} is {number}; give a fraction above 0, such as 0.001.")
        if not 0 < self.confidence < 1:
            raise StudyError(f"--confidence is {self.confidence}; give a fraction between 0 and 1, such as 0.99.")
        if self.budget is not None and self.budget < 1:
            raise StudyError(f"--budget is {self.budget}; give at least 1 trial.")


@dataclass(frozen=True)
class Plan:
    """Which trials, in which order. Part of a study's identity.

    kind    'adaptive': one fault on one image a trial, until the precision is reached. 'exhaustive': every fault on
            every image. 'network', 'layer', 'data-unaware', 'data-aware': the published statistical plans, each fault
            on every image
    margin  error margin e of a published plan, as a fraction
    p       where a data-aware plan takes its p of each bit: 'pilot' measures it, 'weights' computes it from the
            weights, 'date23-table' is the published table
    shard   (i, n): the i-th of n parts of a fixed plan, i from 1; None: the whole
    seed    of every draw
    """

    kind: PlanKind = "adaptive"
    margin: float = 0.01
    p: PStrategy = "pilot"
    shard: tuple[int, int] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.margin < 1:
            raise StudyError(f"--margin is {self.margin}; give a fraction between 0 and 1, such as 0.01.")
        if self.seed < 0:
            raise StudyError(f"--seed is {self.seed}; give 0 or more.")
        if self.shard is None:
            return
        check_shard(self.shard)
        if self.kind == "adaptive":
            raise StudyError("An adaptive study cannot be sharded; use --workers or --scheduler, or a fixed --plan.")


def check_shard(shard: tuple[int, int]) -> None:
    """StudyError unless it is (i, n) with i from 1 to n."""
    part, parts = shard
    if not 1 <= part <= parts:
        raise StudyError(f"--shard is {part}/{parts}; give i/n with i from 1 to n.")


@dataclass(frozen=True)
class Machine:
    """Where it runs. `exact` and `provider` are part of a study's identity, the others only make it faster.

    exact      optimisations off, bit-identical to the whole faulty model run the same way; about half the speed
    provider   'auto': CUDA where it is there, else the CPU
    workers    processes of one thread each; None: one a core; 1: none but this one
    scheduler  address of a Dask scheduler, such as 'tcp://host:8786', whose workers run the trials instead
    memory     bytes that all processes of this machine together may use; with a scheduler, each of its workers
    """

    exact: bool = False
    provider: Provider = "auto"
    workers: int | None = None
    scheduler: str | None = None
    memory: int = 2 * 2**30

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise StudyError(f"--workers is {self.workers}; give at least 1.")
        if self.memory < 2**26:
            raise StudyError(f"--memory is {self.memory} bytes; give at least 64MiB.")
