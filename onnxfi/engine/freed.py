"""Freed memory, handed back to the system."""

from __future__ import annotations

import ctypes
import sys


def give_back() -> None:
    """glibc keeps what was freed: hundreds of MiB after a session was compiled. Elsewhere nothing is done."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
