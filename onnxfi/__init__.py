"""onnxfi: where a trained network, as an ONNX file, is vulnerable to bit flips, and how sure that is.

    analyze   inject faults until every rate is known to the precision asked for
    explain   what every flip of one stored number does
    show      what a model holds, and what of it can be injected
    inject    write a model with faults in it
    merge     join the shards of a study

`write_report` writes a study's page again, or one that compares several. `onnxfi.api.vigor` decides vulnerability from
a few runs of each site, and `onnxfi.api.parity` whether two files of one network fail alike; `onnxfi.vigor` and
`onnxfi.parity` are the packages behind them.

Importing this is light; the heavy libraries come with the first call.
"""

from onnxfi.api import Parity, Run, Vulnerability, analyze, explain, inject, merge, show, write_report
from onnxfi.errors import DataError, EngineError, FaultError, ModelError, OnnxfiError, ProviderError, StudyError
from onnxfi.study.settings import Data, Machine, Plan, Precision, Target
from onnxfi.vigor.settings import Experiments, Sampling

__version__ = "0.1.0"

__all__ = [
    "Data",
    "DataError",
    "EngineError",
    "Experiments",
    "FaultError",
    "Machine",
    "ModelError",
    "OnnxfiError",
    "Parity",
    "Plan",
    "Precision",
    "ProviderError",
    "Run",
    "Sampling",
    "StudyError",
    "Target",
    "Vulnerability",
    "analyze",
    "explain",
    "inject",
    "merge",
    "show",
    "write_report",
]
