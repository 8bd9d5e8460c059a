"""What all tests share. Markers (`slow`, `shared`) are declared in pyproject.toml."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real weights, images and published results; use it under the marker `shared`."""
    named = os.environ.get("ONNXFI_SHARED_DATA")
    if not named:
        pytest.skip("ONNXFI_SHARED_DATA names no folder of real weights and published results")
    folder = Path(named)
    if not folder.is_dir():
        pytest.skip(f"ONNXFI_SHARED_DATA names {folder}, which is no folder")
    return folder
