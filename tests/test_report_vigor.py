"""DeepVigor on pages: its own, that of the study in whose folder it lies, and beside other runs."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from browsing import check_quiet, open_page
from hostile import HOSTILE, images_file, model

from onnxfi import Data, Machine, Precision, StudyError, analyze, api, write_report
from onnxfi.report.ranges import read_vigor, shown_limits


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with a DeepVigor+ run in its folder, and one of DeepVigor beside it."""
    folder = tmp_path_factory.mktemp("vigor")
    net, data = model(folder / "net.onnx"), Data((images_file(folder / "data.npz"),))
    here = Machine(workers=1)
    analyze(net, data=data, precision=Precision(0.02, 0.05, 0.95, budget=1000), machine=here, out=folder / "run")
    api.vigor(net, data=data, machine=here, out=folder / "run")
    api.vigor(net, data=data, machine=here, method="deepvigor", out=folder / "classes")
    return folder


def test_a_run_into_a_study_has_a_room_and_the_study_tells_of_it(place: Path, browser: Any) -> None:
    study = place / "run"
    assert (study / "vigor" / "vigor.json").is_file() and not (study / "vigor.json").exists()
    assert "trials" in pd.read_csv(study / "channels.csv") and "lower" not in pd.read_csv(study / "channels.csv")
    open_page(browser, study / "report.html")
    rows = browser.execute_script(
        "return Array.from(document.querySelectorAll('#ranges tbody')[0].rows, r => [r.cells[0].textContent, "
        "r.cells[1].textContent, r.cells[3].textContent])"
    )
    assert len(rows) == 4 and rows[0][0] == HOSTILE
    # The narrowest range, from the arrays themselves.
    with np.load(study / "vigor" / "ranges.npz") as arrays:
        limits = float(arrays["lower_0"].max()), float(arrays["upper_0"].min())
    assert rows[0][1:] == ["weights", shown_limits(limits)]
    check_quiet(browser)


def test_each_run_has_a_page_of_its_own(place: Path, browser: Any) -> None:
    rates, classes = {"layers", "bits", "ranges", "search"}, {"classes", "ranges"}
    for folder, sections in ((place / "run" / "vigor", rates), (place / "classes", classes)):
        page = (folder / "report.html").read_bytes()
        assert write_report([folder]) == folder / "report.html"
        assert (folder / "report.html").read_bytes() == page
        open_page(browser, folder / "report.html", width=380)
        found = browser.execute_script("return Array.from(document.querySelectorAll('main section'), s => s.id)")
        assert sections <= set(found)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 380
        check_quiet(browser)


def test_rates_by_search_stand_beside_those_by_injection(place: Path, tmp_path: Path) -> None:
    page = write_report([place / "run", place / "run" / "vigor"], tmp_path / "both.html").read_text()
    assert "net.onnx, DeepVigor+" in page
    with pytest.raises(StudyError, match="ranges by class, which have no rates"):
        write_report([place / "run", place / "classes"], tmp_path / "none.html")


def test_ranges_of_classes_are_those_of_the_file(place: Path) -> None:
    run = read_vigor(place / "classes")
    assert run is not None and run.by_class and not run.layers
    table = pd.read_csv(place / "classes" / "neurons.csv")
    for span in run.spans:
        mine = table[table["layer"] == span.layer]
        assert span.nearest == (mine["safe_low"].max(), mine["safe_high"].min())
        assert span.sites == mine["neuron"].nunique()


def test_a_run_of_another_model_is_left_out_and_said_so(place: Path) -> None:
    path = place / "run" / "vigor" / "vigor.json"
    before = path.read_text()
    try:
        path.write_text(json.dumps({**json.loads(before), "model_sha256": "0" * 64}))
        write_report([place / "run"])
        page = (place / "run" / "report.html").read_text()
        assert "of another model, which is left out" in page and 'id="ranges"' not in page
        path.write_text("{")
        with pytest.raises(StudyError, match="torn DeepVigor run"):
            write_report([place / "run"])
    finally:
        path.write_text(before)


def test_limits_as_text() -> None:
    assert shown_limits((-0.6184, 5.5159e36)) == "−0.618 to 5.52e36"
    assert shown_limits((-math.inf, 12.0)) == "−∞ to 12"
