"""The house: who may import whom, where each heavy library lives, what lies at the top, how long a file may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "onnxfi"
FILES = sorted(PACKAGE.rglob("*.py"))

# Top to bottom, as the design draws them: a file imports from its own storey and from those before it.
STOREYS = (
    "errors",
    "faults",
    "metrics",
    "graph",
    "engine",
    "study",
    "vigor",
    "protect",
    "parity",
    "report",
    "bundled",
    "api",
    "__init__",
    "cli",
    "__main__",
)

# Library -> the storeys that may import it; all others may not. numpy is everywhere.
HOMES = {
    "numpy": set(STOREYS) - {"errors"},
    "scipy": {"metrics", "parity"},
    "ml_dtypes": {"faults", "graph", "engine"},
    "onnx": {"graph"},
    "google": {"graph"},
    "onnxruntime": {"engine"},
    "pandas": {"study", "vigor", "protect", "parity", "report", "bundled", "api"},
    "PIL": {"study"},
    "rich": {"report", "cli"},
    "jinja2": {"report"},
    "markupsafe": {"report"},
    "vl_convert": {"report"},
    "click": {"cli"},
    "distributed": {"study"},
    "dask": {"study"},
}
# Behind an extra, and the only file that may.
EXCEPTIONS = {("vigor/gradient.py", "torch"), ("vigor/gradient.py", "onnx2torch")}

TOP = {
    "pyproject.toml",
    "onnxfi",
    "converters",
    "models",
    "tests",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
}


def storey(path: Path) -> str:
    part = path.relative_to(PACKAGE).parts[0]
    return part.removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import in the file, those inside functions and under TYPE_CHECKING too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            # `from onnxfi import graph` imports onnxfi.graph; `from onnxfi import analyze` imports a name of the root.
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_only_from_storeys_above(path: Path) -> None:
    here = STOREYS.index(storey(path))
    for line, name in imports(path):
        parts = name.split(".")
        if parts[0] != "onnxfi":
            continue
        target = parts[1] if len(parts) > 1 and parts[1] in STOREYS else "__init__"
        assert STOREYS.index(target) <= here, f"{path.relative_to(ROOT)}:{line} imports {name}, a storey below its own"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_heavy_libraries_stay_at_home(path: Path) -> None:
    for line, name in imports(path):
        library = name.split(".")[0]
        if library == "onnxfi" or library in sys.stdlib_module_names:
            continue
        if (str(path.relative_to(PACKAGE)), library) in EXCEPTIONS:
            continue
        homes = HOMES.get(library, set())
        assert storey(path) in homes, f"{path.relative_to(ROOT)}:{line} imports {library}, which lives in {homes}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_are_short(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= 300, f"{path.relative_to(ROOT)} has {lines} lines"
    assert path.stem != "utils"


def test_top_level_holds_what_the_design_lists() -> None:
    """What a clone shows: dot-files, and what git does not keep, do not."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("no git, or no clone")
    shown = {line.split("/")[0] for line in listed.stdout.splitlines()}
    assert {name for name in shown if not name.startswith(".")} <= TOP


def test_every_storey_is_on_the_list() -> None:
    names = {storey(path) for path in FILES}
    assert names <= set(STOREYS)
