"""`onnxfi vigor`: options are the fields of onnxfi.vigor.analysis.Question and of what it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from onnxfi.cli.images import image_options, taken
from onnxfi.cli.options import Command, option, size
from onnxfi.study.settings import Machine, Target

FAULTS, DEPTH, MACHINE, OUTPUT = "Faults", "How much is looked at", "Machine", "Output"


@click.command(cls=Command)
@click.argument("model", required=False, type=click.Path(path_type=Path))
@option(
    DEPTH,
    "--method",
    type=click.Choice(["deepvigor+", "deepvigor"]),
    default="deepvigor+",
    help="Rates of sites, channels and layers; or ranges of each neuron by class, validated on unseen images.",
)
@option(
    FAULTS,
    "--target",
    type=click.Choice(["weights", "activations", "both"]),
    help="What can go wrong.  [default: both; activations with deepvigor]",
)
@option(
    FAULTS,
    "--activation",
    type=click.Choice(["input", "output", "mac"]),
    help="Which activations: the word that a layer reads, the word that its op writes, or one operand of one output."
    "  [default: input; mac with --paper, output with deepvigor]",
)
@option(
    FAULTS,
    "--parameters",
    type=click.Choice(["weights", "all"]),
    default=Target.parameters,
    help="Which parameters: weights of rank 2 and more, or biases and BatchNormalization too.",
)
@option(FAULTS, "--bits", metavar="BITS", help="Bits: 30, 23-30, sign, exponent, mantissa, joined.  [default: all]")
@option(FAULTS, "--layers", metavar="GLOB", multiple=True, help="Only layers whose id matches; repeatable.")
@option(FAULTS, "--unshare", is_flag=True, help="Split initializers that several nodes read.")
@option(FAULTS, "--output", metavar="NAME", help="The output to look at, where the model has several.")
@image_options
@option(
    DEPTH,
    "--channel-sampling-ratio",
    type=float,
    metavar="RATIO",
    help="Only this share of each layer's channels, and of each the base-2 logarithm of its sites.  [default: all]",
)
@option(
    DEPTH,
    "--channel-sites",
    type=click.IntRange(min=1),
    metavar="N",
    help="Of each channel taken, N sites in the place of the logarithm.",
)
@option(
    DEPTH,
    "--site-images",
    type=click.IntRange(min=1),
    metavar="N",
    help="Only N of the images for each site, spread evenly.  [default: all]",
)
@option(
    DEPTH,
    "--paper",
    is_flag=True,
    help="As published: deviations of powers of two, a filter's fault one constant, large errors critical.",
)
@option(
    DEPTH,
    "--validate",
    type=float,
    metavar="SHARE",
    help="Afterwards, inject real faults into this share of the channels and say how well both agree.",
)
@option(DEPTH, "--confidence", type=float, default=0.99, help="Of every interval.")
@option(DEPTH, "--seed", type=click.IntRange(min=0), metavar="N", default=0, help="Of every draw.")
@option(MACHINE, "--exact", is_flag=True, help="Bit-identical to the whole faulty model; slower.")
@option(
    MACHINE,
    "--provider",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default=Machine.provider,
    help="Where ONNX Runtime runs.",
)
@option(MACHINE, "--workers", type=click.IntRange(min=1), metavar="N", help="Processes.  [default: one a core]")
@option(MACHINE, "--memory", type=size, metavar="SIZE", default="2GiB", help="For all processes together.")
@option(
    OUTPUT,
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write vigor.json, layers.csv, channels.csv, bits.csv and ranges.npz into it; or deepvigor.json, neurons.csv.",
)
@option(OUTPUT, "--json", "as_json", is_flag=True, help="Print the object of vigor.json, and nothing else, to stdout.")
def vigor(model: Path | None, **options: Any) -> None:
    """How vulnerable is MODEL, decided from a few runs of each site? (DeepVigor+)

    For each weight or activation and each image it searches the values that real bit flips make for those beyond which
    the answer changes, and so decides all bits at once. Without MODEL it takes the bundled model and images.

    \b
    Example:
      onnxfi vigor --channel-sampling-ratio 0.1 --images 100
      onnxfi vigor net.onnx --data test.npz --preset cifar10 --activation mac
      onnxfi vigor small.onnx --data images.npz --out ranges/
      onnxfi vigor small.onnx --data images.npz --paper
      onnxfi vigor --method deepvigor --channel-sampling-ratio 0.1
    """
    from onnxfi.bundled.stand_in import stand_in
    from onnxfi.cli.searching import Searching
    from onnxfi.report import deepvigor, tables, vigor_tables
    from onnxfi.report import vigor as plus
    from onnxfi.vigor.analysis import Question, analyze
    from onnxfi.vigor.deepvigor import find_ranges
    from onnxfi.vigor.sample import Sampling
    from onnxfi.vigor.validate import validate

    ranges = options["method"] == "deepvigor"
    usual = "output" if ranges else "mac" if options["paper"] else Target.activation
    target = Target(
        kind=options["target"] or ("activations" if ranges else Target.kind),
        activation=options["activation"] or usual,
        parameters=options["parameters"],
        layers=options["layers"],
        bits=options["bits"],
        output=options["output"],
        unshare=options["unshare"],
    )
    machine = Machine(
        exact=options["exact"],
        provider=options["provider"],
        workers=options["workers"],
        memory=options["memory"],
    )
    sampling = Sampling(
        options["channel_sampling_ratio"], options["site_images"], options["seed"], options["channel_sites"]
    )
    path, data = stand_in(model, taken(options))
    question = Question(target, data, sampling, options["confidence"], machine, options["paper"])
    with Searching() as progress:
        if ranges:
            found = find_ranges(path, question, progress)
        else:
            analysis = analyze(path, question, progress)
            agreement = validate(analysis, options["validate"]) if options["validate"] is not None else ()
    if ranges:
        told = deepvigor.facts(found)
        text, blocks = deepvigor.to_json(told), deepvigor.blocks(told)
    else:
        told = plus.facts(analysis, agreement)
        text, blocks = plus.to_json(told), vigor_tables.blocks(told)
    if options["out"] and ranges:
        deepvigor.write(options["out"], found, told)
    elif options["out"]:
        plus.write(options["out"], analysis, told)
    if options["as_json"]:
        click.echo(text, nl=False)
        return
    console = tables.console()
    for block in blocks:
        console.print(block)
