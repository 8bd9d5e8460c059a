"""The options that say how far a plan goes: fields of onnxfi.study.settings.Precision and Plan."""

from __future__ import annotations

import click

from onnxfi.cli.options import added, option
from onnxfi.study.settings import Plan, Precision

GROUP = "Plan and precision"

goal_options = added(
    option(
        GROUP, "--precision", type=float, default=Precision.model, help="Adaptive: half-width of the MVF's interval."
    ),
    option(GROUP, "--layer-precision", type=float, default=Precision.layer, help="Adaptive: half-width of each LVF's."),
    option(GROUP, "--confidence", type=float, default=Precision.confidence, help="Of every interval."),
    option(GROUP, "--margin", type=float, default=Plan.margin, help="Published plans: error margin, a fraction."),
    option(GROUP, "--seed", type=click.IntRange(min=0), metavar="N", default=Plan.seed, help="Of every draw."),
)
