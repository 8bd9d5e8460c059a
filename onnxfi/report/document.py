"""A page: one HTML file that needs no network and nothing but a browser. It has a head, and sections in a row.

A section is a template and what it shows. To add one to a page, write templates/PAGE/NAME.html with the macros of
parts.html (`chart`, `table`, `rate`, `count`) and append

    Section("fit", "Failures in time", "study/fit.html", {"rows": rows})

to the page's list: the heading, the link to it and the layout for screens, narrow screens and paper come with it.
Values are data: names out of a stranger's file are escaped, wherever they stand.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from onnxfi.metrics.estimate import Estimate
from onnxfi.report.ranges import shown_limits
from onnxfi.report.tables import plain, positions
from onnxfi.report.words import fit, percent


@dataclass(frozen=True)
class Card:
    """One number in large type; `edge`: a CSS colour."""

    name: str
    value: str
    limits: str
    edge: str = "var(--rule)"

    @classmethod
    def of(cls, name: str, rate: Estimate, edge: str = "var(--rule)") -> Card:
        """A rate, its value large and its interval small."""
        value, _, limits = percent(rate).partition(" [")
        return cls(name, value, f"[{limits}", edge)


@dataclass(frozen=True)
class Head:
    """kind: what sort of page, in a few words; title: the model's name, mostly; asked: the question; answer: one
    sentence, the interval in it; more: sentences after it."""

    kind: str
    title: str
    asked: str = ""
    answer: str = ""
    more: Sequence[str] = ()
    warnings: Sequence[str] = ()
    cards: Sequence[Card] = ()


@dataclass(frozen=True)
class Section:
    """id: of its heading; name: the heading; template: its file under templates/; values: what that shows."""

    id: str
    name: str
    template: str
    values: Mapping[str, Any]


def document(head: Head, sections: Sequence[Section]) -> str:
    """The page as text."""
    environment, folder = _environment(), files("onnxfi.report").joinpath("templates")
    script = folder.joinpath("page.js").read_text(encoding="utf-8")
    return environment.get_template("document.html").render(
        head=head,
        sections=[(s, Markup(environment.get_template(s.template).render(s.values))) for s in sections],
        version=version("onnxfi"),
        style=Markup(folder.joinpath("page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
    )


@cache
def _environment() -> Environment:
    made = Environment(loader=PackageLoader("onnxfi.report"), autoescape=True, undefined=StrictUndefined)
    made.filters |= {"percent": percent, "fit": fit, "plain": plain, "positions": positions, "drawing": Markup}
    made.filters["limits"] = shown_limits
    return made
