"""The words of a report, each explained in a sentence or two."""

from __future__ import annotations

from onnxfi.report.meaning import Meaning
from onnxfi.report.summary import Summary


def glossary(summary: Summary, meaning: Meaning) -> list[tuple[str, str]]:
    """(word, what it means), for the words that this study uses."""
    confidence = f"{100 * float(summary.settings['precision']['confidence']):g} %"
    found = [
        (
            "trial",
            "One inference of one image under one fault. Its answer is held against the fault-free one.",
        ),
        ("critical", "The class changes (SDC-1), or a logit is not finite and there is no answer."),
        (
            "VF",
            "Vulnerability factor: the probability that a fault is critical, over faults and images; BVF of a bit "
            "position, LVF of a layer, MVF of the model, as the plain mean of its layers.",
        ),
        (
            "VF, every bit equally likely",
            "The probability for a flip anywhere in the words of this study: layers weigh by their bits.",
        ),
    ]
    if summary.mvf_total:
        found.append(
            (
                "MVF total, Eq. 15",
                "DeepVigor+'s figure: in each layer the mean of both LVFs, weighted by outputs and weights, then "
                "the mean of the layers. It compares models; it is not a probability.",
            )
        )
    found += [
        (
            "[low, high]",
            f"An interval that holds the true rate in {confidence} of studies: Fay and Feuer's gamma interval for "
            "stratified samples. Few trials make it wide, never wrong.",
        ),
        ("SDC-5", "The fault-free answer is not among the first five."),
        ("SDC-10 %, SDC-20 %", "The confidence in the fault-free answer moves by more than 10 or 20 % of what it was."),
        ("non-finite", "A logit is NaN or infinite: there is no answer, which a system may notice."),
    ]
    if meaning.answers.labels is not None:
        found.append(
            (
                "accuracy lost",
                "Answers that faults break less wrong ones that they mend, as a share of trials. The fault-free "
                "accuracy here is known, so only what faults change is estimated.",
            )
        )
    if meaning.safety:
        found.append(
            (
                "SCM",
                "Safety-critical misclassification (Laskar et al., PRDC 2022): from a group of supergroup A to another "
                "group. The other way round, and within a group, it is not safety-critical.",
            )
        )
    return found
