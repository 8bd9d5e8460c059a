"""Reading and writing PyTorch checkpoints."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.pointer import refuse_pointer
from onnxfi.errors import ModelError


def read(path: Path) -> dict[str, Any]:
    """What `torch.save` wrote, read on the CPU without running any code from the file. Raises ModelError."""
    try:
        refuse_pointer(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as problem:
        raise ModelError(f"{path} cannot be read: {problem.strerror}") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError) as problem:
        raise ModelError(f"{path} is not a PyTorch checkpoint of plain tensors: {_first_line(problem)}") from problem
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds a {type(content).__name__}, not a state dict")
    return content


def weights(content: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The state dict in a checkpoint: itself, or under "state_dict" or "net"; DataParallel's "module." taken away."""
    state: dict[str, torch.Tensor] = content.get("state_dict", content.get("net", content))
    return {name.removeprefix("module."): value for name, value in state.items()}


def load(net: nn.Module, path: Path) -> None:
    """Puts the weights in `path` into `net`, name by name. Raises ModelError unless every name and shape fits."""
    try:
        net.load_state_dict(weights(read(path)), strict=True)
    except (RuntimeError, AttributeError, TypeError) as problem:
        raise ModelError(f"{path} does not fit this architecture: {_first_line(problem, skip=1)}") from problem


def _first_line(problem: Exception, skip: int = 0) -> str:
    """One line of a framework's message; `skip` lines before it say nothing that the caller has not said."""
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()] or [type(problem).__name__]
    return lines[min(skip, len(lines) - 1)]
