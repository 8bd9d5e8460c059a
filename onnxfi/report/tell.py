"""Telling a study: everything that its folder gets beside the journal, and one page for several."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from onnxfi.errors import StudyError
from onnxfi.metrics.safety import Groups, parse_groups
from onnxfi.report import files
from onnxfi.report.comparison import comparison
from onnxfi.report.findings import summarize
from onnxfi.report.meaning import interpret
from onnxfi.report.page import page
from onnxfi.report.ranges import ROOM, VigorRun, holds_study, read_vigor
from onnxfi.report.summary import Summary
from onnxfi.report.vigor_page import vigor_page
from onnxfi.study.finding import Finding
from onnxfi.study.joining import found
from onnxfi.study.journal import Journal
from onnxfi.study.labels import arranged
from onnxfi.study.settings import Data
from onnxfi.study.tensorfi import ThreeSettings

PAGE = "report.html"


def tell(
    finding: Finding,
    folder: Path,
    settings: dict[str, Any] | None = None,
    groups: Groups | None = None,
    per_mbit: float | None = None,
) -> Summary:
    """Write summary.json, the tables and the page of a study into its folder.

    settings: of this run, those that the study began with where they are not given. groups: for SCM. per_mbit: raw rate
    of upsets, in FIT per Mbit. Raises StudyError and DataError.
    """
    meaning = interpret(finding, groups, per_mbit, ThreeSettings.read(folder) if groups else None)
    summary, vigor = replace(summarize(finding, settings), meaning=meaning), read_vigor(folder / ROOM)
    if vigor and vigor.found["model_sha256"] != summary.model_sha256:
        sentence = f"{vigor.folder} holds a DeepVigor run of another model, which is left out."
        summary, vigor = replace(summary, warnings=(*summary.warnings, sentence)), None
    files.write(folder, summary, meaning, finding.channels)
    files.write_text(folder / PAGE, page(finding, summary, meaning, vigor))
    return summary


def retell(folder: Path, groups: Groups | None = None, per_mbit: float | None = None) -> Summary:
    """Write them again from the journal alone; what is not given is taken as the last time."""
    with Journal.read(folder) as journal:
        finding = found(journal)
    last_groups, last_rate = _last(folder)
    groups = arranged(groups, _data(finding)) if groups else last_groups
    return tell(finding, folder, None, groups, last_rate if per_mbit is None else per_mbit)


def _data(finding: Finding) -> Data:
    """How the model's outputs are named."""
    asked = finding.about["settings"]["data"]
    return Data(labels=asked.get("labels"), label_map=asked.get("label_map"))


def _last(folder: Path) -> tuple[Groups | None, float | None]:
    """Groups and rate of upsets that summary.json was written with."""
    path = folder / files.SUMMARY
    if not path.is_file():
        return None, None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        scm, fit = values.get("scm"), values.get("fit")
        return (
            parse_groups(scm["groups"], str(path)) if scm else None,
            float(fit["per_mbit"]) if fit else None,
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise StudyError(f"{path} is torn ({error}); delete it, it is written again.") from error


def tell_vigor(folder: Path) -> None:
    """Write the page of a DeepVigor run, and that of the study in whose folder it lies. Raises StudyError."""
    run = read_vigor(folder)
    assert run is not None
    files.write_text(folder / PAGE, vigor_page(run))
    if folder.name == ROOM and holds_study(folder.parent):
        retell(folder.parent)


def write_page(
    runs: Sequence[Path], out: Path | None = None, groups: Groups | None = None, per_mbit: float | None = None
) -> Path:
    """Tell each study or DeepVigor run again; the path of its page, or, of several, of one page that compares them."""
    if not runs:
        raise StudyError("There is nothing to report; give the folders of studies.")
    told = [(run, _again(run, groups, per_mbit)) for run in runs]
    if len(runs) > 1:
        path = out or Path(PAGE)
        files.write_text(path, comparison(told))
    else:
        path = out or runs[0] / PAGE
        if path != runs[0] / PAGE:
            files.write_text(path, (runs[0] / PAGE).read_text(encoding="utf-8"))
    return path


def _again(folder: Path, groups: Groups | None, per_mbit: float | None) -> Summary | VigorRun:
    run = None if holds_study(folder) else read_vigor(folder)
    if run is None:
        return retell(folder, groups, per_mbit)
    tell_vigor(folder)
    return run
