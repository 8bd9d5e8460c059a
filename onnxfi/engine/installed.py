"""Is there one ONNX Runtime, and one only? Asked before it is first imported; imports nothing itself but metadata.

All builds of ONNX Runtime install into the same folder, `onnxruntime/`. Two of them leave a mixture of files, of which
the later one wins by chance, and removing one breaks the other.
"""

from __future__ import annotations

import platform
import sys
from importlib import metadata

from onnxfi.errors import EngineError

BUILDS = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-azure",
    "onnxruntime-cann",
    "onnxruntime-directml",
    "onnxruntime-migraphx",
    "onnxruntime-openvino",
    "onnxruntime-qnn",
    "onnxruntime-rocm",
    "onnxruntime-silicon",
    "onnxruntime-training",
    "onnxruntime-vitisai",
    "onnxruntime-windowsml",
    "ort-nightly",
    "ort-nightly-gpu",
    "ort-nightly-directml",
)


def builds() -> tuple[str, ...]:
    """The distributions of ONNX Runtime that this environment holds, in the order of `BUILDS`."""
    found = []
    for name in BUILDS:
        try:
            metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        found.append(name)
    return tuple(found)


def check(found: tuple[str, ...] | None = None) -> None:
    """Raise EngineError, with the mend, unless exactly one build of ONNX Runtime is installed.

    Args:
        found: names of installed builds; by default what `builds()` finds.
    """
    found = builds() if found is None else found
    if len(found) == 1:
        return
    wanted = _wanted()
    pip = "python -m pip"
    if not found:
        raise EngineError(f"ONNX Runtime is not installed: run `{pip} install {wanted}`.")
    raise EngineError(
        f"{' and '.join(found)} are installed over each other, so which ONNX Runtime runs is chance: "
        f"run `{pip} uninstall -y {' '.join(found)}`, then `{pip} install {wanted}`."
    )


def _wanted() -> str:
    """The build that pyproject.toml names for this platform."""
    machine = platform.machine()
    gpu = (sys.platform == "linux" and machine == "x86_64") or (sys.platform == "win32" and machine == "AMD64")
    return "onnxruntime-gpu" if gpu else "onnxruntime"
