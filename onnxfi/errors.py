"""Everything that onnxfi raises on purpose.

    OnnxfiError                 one clear sentence: what was wrong, where, and what to do
    ├── ModelError              the model file cannot be read, or holds what onnxfi cannot treat
    ├── DataError               images or labels cannot be used with this model
    ├── FaultError              a fault names a place, a bit or a value that does not exist
    ├── EngineError             running the model failed, or its answers cannot be trusted
    │   └── ProviderError       the asked-for execution provider is not there
    └── StudyError              a study's folder is torn, foreign, full or read-only

A crash is never an outcome: none of these is ever counted as a masked fault.
"""

from __future__ import annotations


class OnnxfiError(Exception):
    """The root of the tree: whatever onnxfi refuses, it refuses with one of these."""


class ModelError(OnnxfiError):
    """The model file cannot be read, or holds what onnxfi cannot treat."""


class DataError(OnnxfiError):
    """Images or labels cannot be used with this model."""


class FaultError(OnnxfiError):
    """A fault names a place, a bit or a value that does not exist."""


class EngineError(OnnxfiError):
    """Running the model failed, or its answers cannot be trusted."""


class ProviderError(EngineError):
    """The asked-for execution provider is not there."""


class StudyError(OnnxfiError):
    """A study's folder is torn, foreign, full or read-only."""
