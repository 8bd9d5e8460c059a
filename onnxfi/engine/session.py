"""ONNX Runtime sessions: how they are opened, which provider really runs, and what an error of theirs becomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from onnxfi.errors import EngineError, ProviderError
from onnxfi.graph.fault_node import Layout, feeder

Array = np.ndarray[Any, Any]
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
VERSION: str = ort.__version__

STEP = 4
"""Runs have a multiple of so many rows. ONNX Runtime's products with one row or one column, and Elu, Softplus, LRN and
others, take other kernels for what is left over, and other kernels give other bits."""


class OutOfMemoryError(EngineError):
    """A run did not find the memory it needs: fewer rows may."""


class Session:
    """One compiled graph. Exact: as written, one kernel a node. Fast: whatever ONNX Runtime's optimiser makes of it.

    Either way one thread: results then depend neither on the batch nor on the machine's load.
    """

    def __init__(self, source: Path | bytes, *, fast: bool = False, provider: str = "cpu", what: str = "the model"):
        self.provider = provider
        self._what = what
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.use_deterministic_compute = True
        options.enable_cpu_mem_arena = False  # one a session would hold on to the peak of every tail; it buys no speed
        level = ort.GraphOptimizationLevel
        options.graph_optimization_level = level.ORT_ENABLE_ALL if fast else level.ORT_DISABLE_ALL
        if not fast:
            options.add_session_config_entry("session.disable_prepacking", "1")
        try:
            self._session = ort.InferenceSession(
                source if isinstance(source, bytes) else str(source), options, providers=_providers(provider)
            )
        except Exception as error:
            raise EngineError(f"ONNX Runtime cannot load {what}: {first_line(error)}") from error
        if self._session.get_providers()[0] != PROVIDERS[provider]:
            raise ProviderError(_no_cuda())
        self.outputs: tuple[str, ...] = tuple(output.name for output in self._session.get_outputs())

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None) -> list[Array]:
        """Run on host arrays; outputs in the order asked for (all of them by default)."""
        try:
            answers: list[Array] = self._session.run(outputs, dict(feeds))
        except Exception as error:
            raise self._translated(error) from error
        return answers

    def run_bound(self, feeds: Mapping[str, ort.OrtValue], to_host: bool) -> list[ort.OrtValue]:
        """Run on values that may live on the device; outputs stay there, or come to the host."""
        binding = self._session.io_binding()
        for name, value in feeds.items():
            binding.bind_ortvalue_input(name, value)
        for name in self.outputs:
            binding.bind_output(name, "cpu" if to_host else self.provider)
        try:
            self._session.run_with_iobinding(binding)
        except Exception as error:
            raise self._translated(error) from error
        values: list[ort.OrtValue] = binding.get_outputs()
        return values

    def _translated(self, error: Exception) -> EngineError:
        text = first_line(error)
        if "allocate" in text.lower() or isinstance(error, MemoryError):
            return OutOfMemoryError(f"ONNX Runtime ran out of memory in {self._what}: {text}")
        return EngineError(f"ONNX Runtime failed in {self._what}: {text}")


def on_device(array: Array, provider: str) -> ort.OrtValue:
    """`array` as a value for `run_bound`: on the CPU it shares the array's memory (a memory map stays one)."""
    return ort.OrtValue.ortvalue_from_numpy(array, provider, 0)


def resolve_provider(wanted: str) -> str:
    """'cpu' or 'cuda' for 'auto', 'cpu' or 'cuda'. ONNX Runtime falls back to the CPU without a word: so it is tried.

    Raises ProviderError where CUDA is asked for and is not there.
    """
    if wanted == "cpu":
        return "cpu"
    if PROVIDERS["cuda"] in ort.get_available_providers() and _cuda_works():
        return "cuda"
    if wanted == "cuda":
        raise ProviderError(_no_cuda())
    return "cpu"


def first_line(error: Exception) -> str:
    """What an exception of ONNX Runtime says, on one line and without its own file names."""
    text = " ".join(str(error).split())
    return text.split(" : ", 3)[-1][:300] if text.startswith("[ONNXRuntimeError]") else text[:300]


def _cuda_works() -> bool:
    if find_spec("nvidia"):
        with redirect_stdout(StringIO()):
            ort.preload_dlls()  # finds the libraries of the extra [cuda]
    ort.set_default_logger_severity(4)
    try:
        tiny = feeder([Layout(elem_type=1, shape=(1,))], "nothing").SerializeToString()
        session = ort.InferenceSession(tiny, providers=_providers("cuda"))
        return bool(session.get_providers()[0] == PROVIDERS["cuda"])
    except Exception:  # whatever the driver says, there is no CUDA to use
        return False
    finally:
        ort.set_default_logger_severity(2)


def _providers(provider: str) -> list[Any]:
    if provider == "cpu":
        return [PROVIDERS["cpu"]]
    cuda = {"device_id": 0, "use_tf32": 0, "cudnn_conv_algo_search": "DEFAULT", "do_copy_in_default_stream": 1}
    return [(PROVIDERS["cuda"], cuda), PROVIDERS["cpu"]]


def _no_cuda() -> str:
    return (
        "CUDA was asked for but ONNX Runtime cannot use it on this machine: install the extra "
        "`pip install 'onnxfi[cuda]'` and an NVIDIA driver, or take --provider cpu."
    )
