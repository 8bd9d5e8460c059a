"""The locked surface: a name that is not in these lists is private, and importing is light."""

from __future__ import annotations

import inspect
import subprocess
import sys

import onnxfi
from onnxfi import api
from onnxfi.api import faults

PUBLIC = [
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
# Of onnxfi.api; `vigor`, `parity`, `protect` are not at the root, where the packages of these names stand.
FUNCTIONS = {"analyze", "count", "compare_studies", "explain", "inject", "merge", "parity", "protect", "show", "vigor",
             "write_report"}  # fmt: skip
HEAVY = {"numpy", "onnx", "onnxruntime", "pandas", "scipy", "PIL", "rich", "torch", "jinja2", "vl_convert"}


def test_public_names_are_locked() -> None:
    assert onnxfi.__all__ == PUBLIC


def test_functions_of_the_api_are_locked() -> None:
    own = {
        name
        for name, value in vars(api).items()
        if inspect.isfunction(value) and value.__module__.startswith(api.__name__) and not name.startswith("_")
    }
    assert own == FUNCTIONS
    for name in FUNCTIONS:
        assert inspect.getdoc(getattr(api, name)), name


def test_functions_for_fault_lists_are_locked() -> None:
    assert faults.__all__ == ["Draw", "Meet", "convert", "draw", "merge", "run"]
    assert all(inspect.getdoc(getattr(faults, name)) for name in faults.__all__)


def test_everything_public_is_documented() -> None:
    for name in PUBLIC:
        assert inspect.getdoc(getattr(onnxfi, name)), name


def test_errors_share_one_root() -> None:
    for name in PUBLIC:
        value = getattr(onnxfi, name)
        if isinstance(value, type) and issubclass(value, Exception):
            assert issubclass(value, onnxfi.OnnxfiError)


def test_import_and_help_are_light() -> None:
    script = (
        "import sys, onnxfi\n"
        "from onnxfi.cli.main import run\n"
        "assert run(['--help']) == 0 and run(['analyze', '--help']) == run(['vigor', '--help']) == 0\n"
        f"heavy = {HEAVY!r} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


def test_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert onnxfi.__version__ == version("onnxfi")
