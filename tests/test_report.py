"""The report in a real browser: every chart drawn, tables sort, no error, no request, and names that are data."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from browsing import check_quiet, open_page
from hostile import HOSTILE, IMAGE, groups_file, images_file, model

from onnxfi import Data, Machine, Precision, StudyError, analyze, write_report
from onnxfi.report.words import command, number, percent


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of the hostile model, with everything that a page can hold."""
    folder = tmp_path_factory.mktemp("report")
    run = analyze(
        model(folder / "<b>net.onnx"),
        data=Data((images_file(folder / "data.npz"),)),
        precision=Precision(0.02, 0.05, 0.95, budget=3000),
        machine=Machine(workers=1),
        out=folder / "run",
        groups=groups_file(folder / "groups.json"),
        fit_per_mbit=1000.0,
    )
    return run.folder


@pytest.mark.parametrize(("dark", "width"), [(False, 1200), (True, 1200), (False, 380), (True, 380)])
def test_every_chart_is_drawn_and_nothing_is_asked_for(browser: Any, study: Path, dark: bool, width: int) -> None:
    open_page(browser, study / "report.html", dark, width)
    figures = browser.execute_script(
        """return Array.from(document.querySelectorAll('figure'), figure => {
             const drawn = Array.from(figure.querySelectorAll('svg')).filter(svg => svg.getBoundingClientRect().width);
             const marks = figure.querySelectorAll('[role=graphics-symbol][aria-label]');
             const color = getComputedStyle(drawn[0].querySelector('[class*=mark-] path, .mark-line path')).fill;
             const label = drawn[0].closest('[role=img]').getAttribute('aria-label');
             return [label, drawn.length, drawn[0].getBoundingClientRect().width, marks.length, color];
           })"""
    )
    # Layers, bits, two channel maps, corruption, settings, two maps by class and two by group, the course of intervals.
    assert len(figures) == 11
    for label, drawings, wide, marks, _ in figures:
        assert label and drawings == 1 and marks > 0
        assert 250 < wide <= width
    page = "return [document.documentElement.scrollWidth, getComputedStyle(document.body).backgroundColor]"
    scroll, paper = browser.execute_script(page)
    assert scroll <= width  # nothing sticks out
    assert paper == ("rgb(21, 24, 28)" if dark else "rgb(255, 255, 255)")
    check_quiet(browser)


def test_tables_sort_by_mouse_and_keyboard(browser: Any, study: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    open_page(browser, study / "report.html")
    rows = "return Array.from(document.querySelectorAll('#vulnerable tbody tr'), r => "
    column = rows + "Number(r.cells[{}].dataset.value))"
    heads = browser.find_elements("css selector", "#vulnerable thead button")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", heads[0])
    heads[3].click()
    trials = browser.execute_script(column.format(3))
    assert trials == sorted(trials, reverse=True) and len(trials) == 4
    heads[3].send_keys(Keys.ENTER)
    assert browser.execute_script(column.format(3)) == sorted(trials)
    assert heads[3].find_element("xpath", "..").get_attribute("aria-sort") == "ascending"
    heads[0].click()
    names = browser.execute_script(rows + "r.cells[0].textContent)")
    assert len(set(names)) == 2 and names[0] == names[1]
    check_quiet(browser)


def test_names_are_text(browser: Any, study: Path) -> None:
    open_page(browser, study / "report.html")
    text = browser.execute_script("return document.body.textContent")
    assert HOSTILE in text and IMAGE in text and "<b>net.onnx" in text
    check_quiet(browser)


def test_pointing_at_a_mark_tells_its_numbers(browser: Any, study: Path) -> None:
    from selenium.webdriver import ActionChains

    open_page(browser, study / "report.html")
    mark = browser.find_element("css selector", "#layers .wide [aria-roledescription=bar]")
    settled = "requestAnimationFrame(() => requestAnimationFrame(() => arguments[1]()))"
    browser.execute_async_script(f"arguments[0].scrollIntoView({{block: 'center'}}); {settled}", mark)
    ActionChains(browser).move_to_element(mark).perform()
    tip = browser.find_element("id", "tip")
    assert tip.is_displayed() and re.search(r"weights: [\d.]+ % \[", tip.text)
    check_quiet(browser)


def test_several_studies_side_by_side(browser: Any, study: Path, tmp_path: Path) -> None:
    path = write_report([study, study], tmp_path / "both.html")
    open_page(browser, path)
    assert browser.execute_script("return document.querySelectorAll('.wide svg').length") >= 4
    text = browser.execute_script("return document.body.textContent")
    assert "<b>net.onnx" in text and "<b>net.onnx (2)" in text
    check_quiet(browser)


def test_told_again_from_the_journal_it_is_the_same(study: Path) -> None:
    page, summary = (study / "report.html").read_bytes(), (study / "summary.json").read_bytes()
    assert write_report([study]) == study / "report.html"
    assert (study / "report.html").read_bytes() == page
    assert (study / "summary.json").read_bytes() == summary


def test_the_page_stands_alone(study: Path) -> None:
    page = (study / "report.html").read_text(encoding="utf-8")
    assert HOSTILE not in page and IMAGE not in page
    assert not re.search(r'(src|href)="(?!#|data:)', page)
    assert not re.search(r"<(clipPath|linearGradient)", page)  # their ids would clash between charts
    assert len(page) < 700_000


def test_summary_tells_what_the_page_tells(study: Path) -> None:
    summary = json.loads((study / "summary.json").read_text())
    assert set(summary["sdc"]) == {"weights", "activations"}
    assert summary["sdc"]["weights"]["sdc_1"] == summary["outcomes"]["weights"]["critical"]
    assert {entry["setting"] for entry in summary["scm"]["settings"]} >= {"all", "wrong"}
    # FIT by hand: 66 weights of 32 bits at 1,000 FIT per 10**6 bits.
    (whole,) = [part for part in summary["fit"]["parts"] if part["target"] == "weights" and part["layer"] is None]
    assert whole["bits"] == 66 * 32
    assert whole["value"] == pytest.approx(1000 * 66 * 32 / 1e6 * summary["sdc"]["weights"]["sdc_1"]["value"])


def test_a_folder_that_is_no_study(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="is not a study"):
        write_report([tmp_path])
    with pytest.raises(StudyError, match="nothing to report"):
        write_report([])


def test_numbers_have_the_digits_that_their_interval_leaves() -> None:
    from onnxfi.metrics.estimate import Estimate

    assert number(1.28349, 0.1) == "1.28" and number(43.21, 12.0) == "43" and number(0.0012, 0.0002) == "0.00120"
    assert percent(Estimate(0.012834, 0.0118, 0.0139, 10, 10)) == "1.28 % [1.18, 1.39]"
    assert percent(None) == "–" and percent(Estimate(None, 0.0, 1.0, 0, 10)) == "– [0, 100]"


def test_the_command_asks_again() -> None:
    asked = {
        "target": {"kind": "weights", "layers": ["conv*", "fc"], "unshare": True},
        "data": {"paths": ["my images"], "mean": [0.5, 0.4], "resize": [32, 48], "crop": None},
        "plan": {"kind": "network", "margin": 0.01, "shard": [1, 4]},
        "precision": {"budget": 100, "confidence": 0.99},
        "machine": {"exact": True, "provider": "auto", "workers": 3},
    }
    assert command("a net.onnx", asked) == (
        "onnxfi analyze 'a net.onnx' --target weights --layers 'conv*' --layers fc --unshare --data 'my images' "
        "--mean 0.5,0.4 --resize 32x48 --plan network --shard 1/4 --budget 100 --exact"
    )


def test_the_terminal_says_the_same_in_80_columns(study: Path) -> None:
    from io import StringIO

    from rich.console import Console

    from onnxfi.report import meaning_tables
    from onnxfi.report.tell import retell

    summary = retell(study)
    assert summary.meaning is not None
    console = Console(file=StringIO(), width=80, color_system=None)
    for block in meaning_tables.blocks(summary.meaning):
        console.print(block)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, said.splitlines())) <= 80
    for words in ("SDC-1", "accuracy lost", "wrong, not SCM", "from 1000 FIT per Mbit"):
        assert words in said


def test_without_a_mouse_and_without_eyes(browser: Any, study: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    open_page(browser, study / "report.html")
    active = "const e = document.activeElement; return [e.className, e.textContent.trim(), e.tagName]"
    browser.find_element("tag name", "body").send_keys(Keys.TAB)
    assert browser.execute_script(active)[0] == "skip"  # the first stop leads past the head
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    stops = []
    for _ in range(6):  # from there: the drawing needs none; the table's region, then its headings one by one
        browser.switch_to.active_element.send_keys(Keys.TAB)
        stops.append(browser.execute_script(active)[1:])
    assert [tag for _, tag in stops] == ["DIV", *["BUTTON"] * 5]
    assert [text for text, tag in stops if tag == "BUTTON"] == ["layer", "words", "LVF", "trials", "bits"]
    sorts = (
        "return Array.from(document.querySelectorAll('#vulnerable th[aria-sort]'), h => [h.textContent, h.ariaSort])"
    )
    assert browser.execute_script(sorts) == [["LVF", "descending"]]  # as it comes
    browser.switch_to.active_element.send_keys(Keys.SPACE)
    assert browser.execute_script(sorts) == [["bits", "descending"]]

    tree = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    said = [(n["role"]["value"], n.get("name", {}).get("value", "")) for n in tree if not n["ignored"]]
    images = [name for role, name in said if role in ("image", "img")]
    assert len(images) == len(browser.find_elements("tag name", "figure")) and all(images)
    assert not [name for role, name in said if role == "graphics-symbol"]  # hundreds of marks: the tables tell them
    assert {"banner", "main", "contentinfo", "navigation"} <= {role for role, _ in said}
    regions = [name for role, name in said if role == "region"]
    assert all(regions) and len(set(regions)) == len(regions)
    holds = "s => ['figure', 'table'].map(name => s.querySelector(name) !== null)"
    holds = f"return Array.from(document.querySelectorAll('section'), {holds})"
    assert all(table for figure, table in browser.execute_script(holds) if figure)
    check_quiet(browser)


def test_the_file_of_confusions_holds_whole_rows(study: Path) -> None:
    table = pd.read_csv(study / "confusion.csv", dtype={"after": "Int64"})
    sums = table.groupby(["target", "by", "before"])["value"].sum()
    assert sums.to_numpy() == pytest.approx(1.0)  # what stays, what changes, and no answer
    assert set(table["by"]) == {"class", "group"} and set(table["target"]) == {"weights", "activations"}
    assert table[table["by"] == "class"].set_index("before").loc[0, "before_name"].iloc[0] == HOSTILE
    assert (table["low"] <= table["value"]).all() and (table["value"] <= table["high"]).all()
    lost = table[table["after"].isna()]
    assert len(lost) and set(lost["after_name"]) == {"no answer"}
