"""A study as a page."""

from __future__ import annotations

from markupsafe import Markup

from onnxfi.report.charts import COLORS
from onnxfi.report.document import Card, Head, document
from onnxfi.report.meaning import Meaning
from onnxfi.report.ranges import VigorRun
from onnxfi.report.sections import Study, sections
from onnxfi.report.summary import Summary
from onnxfi.report.tables import SITES, plain
from onnxfi.report.words import answered, confidence, fit, happening, percent
from onnxfi.study.finding import Finding


def page(finding: Finding, summary: Summary, meaning: Meaning, vigor: VigorRun | None = None) -> str:
    """The page of one study; `vigor`: a DeepVigor run of the same model."""
    weakest = _weakest(summary)
    head = Head(
        kind=f"Vulnerability to {happening(summary.settings)}s",
        title=summary.model,
        asked=f"how likely is a wrong answer when one bit of {_asked(summary)} goes wrong, where is the model weakest, "
        "and how sure is that?",
        answer=_answer(summary),
        more=[weakest] if weakest else [],
        warnings=summary.warnings,
        cards=_cards(summary, meaning),
    )
    return document(head, sections(Study(finding, summary, meaning, vigor)))


def _asked(summary: Summary) -> str:
    parts = ["a stored parameter"] if summary.outcomes_weights else []
    if summary.activation:
        parts.append(f"an activation ({summary.activation}: {SITES[summary.activation]})")
    return " or of ".join(parts)


def _answer(summary: Summary) -> Markup:
    """What was found, in one sentence."""
    verb = {"bit-flip": "flips", "stuck-at-0": "is stuck at 0", "stuck-at-1": "is stuck at 1"}
    happens = verb[summary.settings["target"]["fault_model"]]
    return answered(happens, summary.mvf_weights, summary.mvf_activations, confidence(summary.settings))


def _weakest(summary: Summary) -> str:
    if not summary.most_vulnerable:
        return ""
    target, layer, rate = summary.most_vulnerable[0]
    return f"Weakest are the {target} of layer {plain(layer)}: {percent(rate)}."


def _cards(summary: Summary, meaning: Meaning) -> list[Card]:
    shown = [
        ("MVF of weights", summary.mvf_weights, COLORS["weights"]),
        ("MVF of activations", summary.mvf_activations, COLORS["activations"]),
        ("MVF total, Eq. 15", summary.mvf_total, COLORS["total"]),
        ("VF, every bit equally likely", summary.population_vf, "var(--rule)"),
    ]
    cards = [Card.of(name, rate, edge) for name, rate, edge in shown if rate]
    for part in meaning.corruption:
        if part.accuracy_loss:
            cards.append(Card.of(f"accuracy lost, {part.target}", part.accuracy_loss, COLORS[part.target]))
    if meaning.safety:
        for setting in meaning.safety.settings:
            if setting.name == "all" and setting.share:
                cards.append(
                    Card.of(f"SCM of misclassifications, {setting.target}", setting.share, COLORS[setting.target])
                )
    for row in meaning.fit:
        if row.layer is None:
            value, _, limits = fit(row.rate).partition(" [")
            cards.append(Card(f"failures in time, {row.target}", value, f"[{limits}", COLORS[row.target]))
    return cards
