"""What makes a study this study and no other, as text with a hash.

The text is JSON with sorted keys, so equal questions give equal bytes and `Identity.id` is their SHA-256. How far and
how fast (precision, budget, workers, batch, memory) is no part of it: these may change when a study goes on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from onnxfi.errors import StudyError

# Raised when the numbers that a study's units give would come out otherwise, or the journal is laid out otherwise.
SCHEMA = 1
_ABSENT = object()


@dataclass(frozen=True)
class Identity:
    """The question, in plain JSON values (str, int, float, bool, None, lists, dicts with str keys).

    model: SHA-256 of the model file and its external data. data: SHA-256 of the images as the model sees them, and in
    words what was done to them. space: the fault model and its regions. plan: how trials are drawn (strata, adaptive or
    which published plan). arithmetic: 'exact' or 'fast'. provider: the execution provider actually used.
    """

    model: str
    data: Mapping[str, Any]
    space: Mapping[str, Any]
    plan: Mapping[str, Any]
    seed: int
    criterion: str
    arithmetic: str
    provider: str
    onnxruntime: str
    schema: int = SCHEMA

    @property
    def text(self) -> str:
        """Deterministic JSON: sorted keys, ASCII, no NaN.

        >>> Identity('ab', {}, {}, {}, 7, 'top-1', 'fast', 'CPU', '1.25').text.splitlines()[1]
        ' "arithmetic": "fast",'
        """
        return json.dumps(asdict(self), indent=1, sort_keys=True, allow_nan=False)

    @property
    def id(self) -> str:
        """SHA-256 of `text`, 64 hexadecimal digits: the study's id."""
        return hashlib.sha256(self.text.encode("ascii")).hexdigest()

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Identity:
        """The identity that `text` was made from; StudyError when a field is missing or unknown."""
        known = {field.name for field in fields(cls)}
        if odd := sorted(known.symmetric_difference(values)):
            raise StudyError(f"fields of its identity are missing or unknown ({', '.join(odd)})")
        return cls(**values)

    def difference(self, other: Identity) -> tuple[str, str, str] | None:
        """The first field in which the other differs, by its dotted name, with both values as JSON; None: none does.

        >>> one = Identity('ab', {'images': 4}, {}, {}, 7, 'top-1', 'fast', 'CPU', '1.25')
        >>> one.difference(Identity('ab', {'images': 5}, {}, {}, 7, 'top-1', 'fast', 'CPU', '1.25'))
        ('data.images', '4', '5')
        """
        mine, theirs = dict(_leaves(json.loads(self.text))), dict(_leaves(json.loads(other.text)))
        for name in sorted(mine.keys() | theirs.keys(), key=_order):
            if mine.get(name, _ABSENT) != theirs.get(name, _ABSENT):
                return name, _short(mine.get(name, _ABSENT)), _short(theirs.get(name, _ABSENT))
        return None


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names of every plain value inside."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else key)
    elif isinstance(value, list) and any(isinstance(inner, dict | list) for inner in value):
        for place, inner in enumerate(value):
            yield from _leaves(inner, f"{name}[{place}]")
    else:
        yield name, value


def _order(name: str) -> tuple[int, str]:
    """Fields in the order in which a person would look: model, data, seed, ... and long lists of regions last."""
    top = name.partition(".")[0].partition("[")[0]
    order: Sequence[str] = (
        "schema",
        "model",
        "data",
        "seed",
        "criterion",
        "arithmetic",
        "provider",
        "onnxruntime",
        "plan",
    )
    return (order.index(top) if top in order else len(order), name)


def _short(value: Any, length: int = 60) -> str:
    text = "absent" if value is _ABSENT else json.dumps(value)
    return text if len(text) <= length else f"{text[: length - 3]}..."
