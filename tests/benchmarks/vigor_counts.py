"""Tables V and VI of DeepVigor+ for architectures of `models/`: `python tests/benchmarks/vigor_counts.py [NAME...]`.

By counting alone (`onnxfi vigor --count`): each network is exported with weights drawn at random (needs torch), and no
image is run. Columns, for weights and for words that the layers write (DeepVigor's neurons):

    sites           what a complete analysis decides; exact
    10 %            what a sample of a tenth of the channels decides (Eq. 16); exact
    exhaustive      faults, one simulation each; exact
    layer, unaware  faults of the layer-wise and the data-unaware plan, margin 1 % at 95 %; exact
    aware           of the data-aware plan, with p of each bit out of the weights: these weights are random, so with a
                    checkpoint it differs; of activations nothing is stored to tell

How many simulations a site takes only an analysis can tell: on trained networks two to three, and the paper's own
tables say six for a neuron.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from setting import REPOSITORY

from models.registry import ARCHITECTURES
from onnxfi import Target
from onnxfi.api import count

COLUMNS = ("sites", "10 %", "exhaustive", "layer", "unaware", "aware")


def main(names: Sequence[str] | None = None) -> None:
    """Count and print, network by network."""
    print(f"{'':22}{'':12}" + "".join(f"{name:>16}" for name in COLUMNS))
    for name in names or ARCHITECTURES:
        with tempfile.TemporaryDirectory(prefix="onnxfi-count-") as folder:
            path = Path(folder) / "net.onnx"
            words = [sys.executable, "-m", "converters", "pytorch", "--arch", name, "--random", "0", "-o", str(path)]
            subprocess.run(words, check=True, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for row in count(path, target=Target(activation="output")):
                numbers = row.sites, row.sampled, row.exhaustive, row.layer, row.data_unaware, row.data_aware
                shown = "".join(f"{'-' if number is None else format(number, ','):>16}" for number in numbers)
                print(f"{name:22}{row.target:12}{shown}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
