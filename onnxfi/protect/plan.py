"""Which options nothing beats, and which of them a budget allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from onnxfi.protect.ask import LIVE_LIMIT, Remedy
from onnxfi.protect.options import Option


def with_front(options: Sequence[Option]) -> tuple[Option, ...]:
    """The options of one target, those marked that are on the Pareto front of bytes, latency and residual MVF.

    Latency counts in whole percents, as surely as it is known; what is not measured costs none. A code that only
    detects is compared with its like.
    """
    marked = []
    for option in options:
        rivals = [other for other in options if other.corrects == option.corrects and other is not option]
        beaten = any(_no_worse(other, option) and _cost(other) != _cost(option) for other in rivals)
        marked.append(replace(option, front=not beaten))
    return tuple(marked)


def choose(
    weights: Sequence[Option], activations: Sequence[Option], remedy: Remedy
) -> tuple[Option | None, Option | None]:
    """The guards of weights and of activations that leave least, within the budget; None where none helps.

    Of options that leave as little as the best, within its interval, live ones go first, then the faster, then what
    leaves least. The budget is for both together; weights are served first.
    """
    size = float("inf") if remedy.size is None else float(remedy.size)
    here = [o for o in weights if o.size <= size and (remedy.at == "auto" or o.at in ("", remedy.at))]
    first = _best([o for o in here if _slower(o) <= _limit(o, remedy)])
    size -= first.size if first else 0
    room = float("inf") if remedy.latency is None else remedy.latency - (_slower(first) if first else 0.0)
    return first, _best([o for o in activations if o.size <= size and _slower(o) <= room])


def _limit(option: Option, remedy: Remedy) -> float:
    """How much slower guards of weights may be: without a budget it is only live ones that must prove to be cheap."""
    if remedy.latency is not None:
        return remedy.latency
    return LIVE_LIMIT if remedy.at == "auto" and option.at == "live" else float("inf")


def _best(options: Sequence[Option]) -> Option | None:
    before = next((o.mvf.value or 0.0 for o in options if not o.size), 0.0)
    helpful = [o for o in options if o.written and o.guards and (o.mvf.value or 0.0) < before]
    if not helpful:
        return None
    least = min(helpful, key=lambda o: (o.mvf.value or 0.0, o.mvf.high))
    near = [o for o in helpful if (o.mvf.value or 0.0) <= least.mvf.high]
    return min(near, key=lambda o: (o.at != "live", round(_slower(o), 2), o.mvf.value or 0.0, o.size))


def _slower(option: Option) -> float:
    """What an inference takes longer, as a fraction; noise below zero counts as none.

    Nothing for guards at load, which are folded by then: what is measured of them is noise, and no choice hangs on it.
    """
    return 0.0 if option.latency is None or option.at == "load" else max(option.latency.value - 1.0, 0.0)


def _cost(option: Option) -> tuple[int, float, float]:
    return option.size, round(_slower(option), 2), option.mvf.value or 0.0


def _no_worse(one: Option, other: Option) -> bool:
    return all(a <= b for a, b in zip(_cost(one), _cost(other), strict=True))
