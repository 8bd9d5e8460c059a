"""The forms that fault lists come in, by the names that people give them. Light to import."""

from __future__ import annotations

from typing import Literal

Form = Literal["auto", "pytorch", "keras"]
"""Indices (o, i, h, w) or (h, w, i, o); 'auto': what fits."""

Format = Literal["list", "results", "keras-report"]
"""'list': the faults, four columns; 'results': eight, as dnn-benchmarks and SFIadvancedmodels; 'keras-report'."""

LineEnds = Literal["lf", "crlf"]

NanRule = Literal["onnxfi", "sfi", "keras-weight-injector"]
"""Whose masked and critical: see onnxfi.metrics.facts."""
