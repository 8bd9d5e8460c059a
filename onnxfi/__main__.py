"""`python -m onnxfi`, the same as `onnxfi`."""

from __future__ import annotations

from onnxfi.cli.main import main

main()
