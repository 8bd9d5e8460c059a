"""The options that say which faults: fields of onnxfi.study.settings.Target.

All but --target and --activation, whose defaults differ from verb to verb.
"""

from __future__ import annotations

import click

from onnxfi.cli.options import added, option
from onnxfi.study.settings import Target

GROUP = "Faults"

_PARAMETERS = option(
    GROUP,
    "--parameters",
    type=click.Choice(["weights", "all"]),
    default=Target.parameters,
    help="Which parameters: weights of rank 2 and more, or biases and BatchNormalization too.",
)
_BITS = option(
    GROUP,
    "--bits",
    metavar="BITS",
    help="Bits: 30, 23-30, sign, exponent, mantissa, joined by commas.  [default: all]",
)
_LAYERS = option(
    GROUP, "--layers", metavar="GLOB", multiple=True, help="Only layers whose id matches; repeatable.  [default: all]"
)
_UNSHARE = option(GROUP, "--unshare", is_flag=True, help="Split initializers that several nodes read.")
_OUTPUT = option(GROUP, "--output", metavar="NAME", help="The output to look at, where the model has several.")

fault_options = added(_PARAMETERS, _BITS, _LAYERS, _UNSHARE, _OUTPUT)
unshared_weight_options = added(_BITS, _LAYERS, _OUTPUT)
"""Of a verb that is about weights, each layer's its own."""
