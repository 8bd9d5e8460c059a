"""`onnxfi vigor`: options are the fields of onnxfi.vigor.settings.Question and of what it holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from onnxfi.cli import faults
from onnxfi.cli.images import image_options, taken
from onnxfi.cli.machine import machine_options
from onnxfi.cli.options import Command, numbers, option
from onnxfi.study.settings import Machine
from onnxfi.vigor.settings import Experiments, Sampling, usual_target

DEPTH, BESIDE, OUTPUT = "How much is looked at", "The paper's experiments", "Output"
METHODS = ["deepvigor+", "deepvigor"]


@click.command(cls=Command)
@click.argument("model", required=False, type=click.Path(path_type=Path))
@option(
    DEPTH,
    "--method",
    type=click.Choice(METHODS),
    default=METHODS[0],
    help="Rates of sites, channels and layers; or ranges of each neuron by class, validated on unseen images.",
)
@option(
    faults.GROUP,
    "--target",
    type=click.Choice(["weights", "activations", "both"]),
    help="What can go wrong.  [default: both; activations with deepvigor]",
)
@option(
    faults.GROUP,
    "--activation",
    type=click.Choice(["input", "output", "mac"]),
    help="Which activations: the word that a layer reads, the word that its op writes, or one operand of one output."
    "  [default: input; mac with --paper, output with deepvigor]",
)
@faults.fault_options
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
    help="As published: deviations of powers of two, a filter's fault one constant, large errors critical. Only Conv, "
    "Gemm and MatMul of an activation by a weight that is stored as it is multiplied; no ConvTranspose.",
)
@option(
    DEPTH,
    "--gradient-test",
    is_flag=True,
    help="With --paper, its gradient test: sides with a zero gradient are not searched, which an audit judges. Needs "
    "the extra: pip install 'onnxfi[gradient]'.",
)
@option(
    DEPTH,
    "--validate",
    type=float,
    metavar="SHARE",
    help="Afterwards, inject real faults into this share of the channels and say how well both agree.",
)
@option(
    BESIDE,
    "--sampling-ratios",
    type=numbers,
    metavar="RATIOS",
    help="How far samples of so many channels are off, and what they would take: 0.05,0.1,0.15,0.2 (Tables IV, VII).",
)
@option(BESIDE, "--repeats", type=int, metavar="N", default=50, help="Samples of each ratio.")
@option(BESIDE, "--image-batches", type=int, metavar="N", help="MVF of each of N batches of the images (Fig. 10).")
@option(BESIDE, "--count", is_flag=True, help="Only count: sites to decide, and faults of other plans (Tables V, VI).")
@option(DEPTH, "--confidence", type=float, default=0.99, help="Of every interval.")
@option(DEPTH, "--seed", type=click.IntRange(min=0), metavar="N", default=0, help="Of every draw.")
@machine_options
@option(
    OUTPUT,
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write report.html, vigor.json, layers.csv, channels.csv, bits.csv and ranges.npz into it; or with deepvigor "
    "report.html, deepvigor.json and neurons.csv. In a study's folder they go into vigor/, and its page tells of them.",
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
      onnxfi vigor small.onnx --data images.npz --sampling-ratios 0.05,0.1,0.2
      onnxfi vigor net.onnx --count
      onnxfi vigor --method deepvigor --channel-sampling-ratio 0.1
    """
    from onnxfi import api
    from onnxfi.cli.searching import Searching
    from onnxfi.report import tables, vigor_experiments, vigor_tables

    given = {"kind": options["target"], "activation": options["activation"]}
    target = replace(
        usual_target(options["method"], options["paper"]),
        **{name: value for name, value in given.items() if value is not None},
        **{name: options[name] for name in ("parameters", "layers", "bits", "output", "unshare")},
    )
    sampling = Sampling(
        options["channel_sampling_ratio"], options["site_images"], options["seed"], options["channel_sites"]
    )
    if options["count"]:
        told = api.count(model, target=target, ratio=options["channel_sampling_ratio"] or 0.1)
        if options["as_json"]:
            click.echo(vigor_experiments.count_json(told), nl=False)
        else:
            tables.console().print(vigor_experiments.counted(told, options["channel_sampling_ratio"] or 0.1))
        return
    machine = Machine(**{name: options[name] for name in ("exact", "provider", "workers", "memory")})
    ratios, batches = options["sampling_ratios"], options["image_batches"]
    asked = ratios is not None or batches is not None
    experiments = Experiments(ratios or (), options["repeats"], batches) if asked else None
    with Searching() as progress:
        run = api.vigor(
            model,
            method=options["method"],
            paper=options["paper"],
            gradient_test=options["gradient_test"],
            data=taken(options),
            target=target,
            sampling=sampling,
            confidence=options["confidence"],
            machine=machine,
            validate=options["validate"],
            experiments=experiments,
            out=options["out"],
            progress=progress,
        )
    if options["as_json"]:
        click.echo(run.to_json(), nl=False)
        return
    console = tables.console()
    for block in vigor_tables.blocks(run.found):
        console.print(block)
    if run.folder:
        click.echo(f"\nWritten: {run.folder}, report.html in it")
