"""The report in a real browser: every chart drawn, tables sort, no error, no request, and names that are data."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxfi import Data, Machine, Precision, StudyError, analyze, write_report
from onnxfi.report.words import command, number, percent

HOSTILE = "<script>window.hacked=1</script>"
IMAGE = '"><img src=x onerror="window.hacked=1">'
EXPRESSION = "'+alert(1)+'\\u0000{{7*7}}${1}"
CLASSES = [HOSTILE, IMAGE, "</script></style><svg onload=window.hacked=1>", EXPRESSION, "bird", "fish", "ant"]


def _model(path: Path) -> Path:
    """Two layers and seven classes, every name of which is an attack."""
    draw = np.random.RandomState(1)
    first, second = draw.randn(4, 6).astype(np.float32), draw.randn(6, 7).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", HOSTILE], ["a"], name=HOSTILE),
            helper.make_node("Relu", ["a"], ["b"]),
            helper.make_node("MatMul", ["b", IMAGE], ["y"], name=IMAGE),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 7])],
        [numpy_helper.from_array(first, HOSTILE), numpy_helper.from_array(second, IMAGE)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def _groups(path: Path) -> Path:
    groups = [
        {"name": HOSTILE, "supergroup": "A", "why": IMAGE, "classes": [0, 1]},
        {"name": "rest", "supergroup": "B", "classes": [2, 3, 4, 5, 6]},
    ]
    whole = {"format": "onnxfi-groups-1", "name": IMAGE, "source": HOSTILE, "classes": CLASSES, "groups": groups}
    path.write_text(json.dumps(whole))
    return path


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of the hostile model, with everything that a page can hold."""
    folder = tmp_path_factory.mktemp("report")
    draw = np.random.RandomState(2)
    images = draw.randn(20, 4).astype(np.float32)
    np.savez(folder / "data.npz", images=images, labels=draw.randint(0, 7, 20), classes=np.array(CLASSES))
    run = analyze(
        _model(folder / "<b>net.onnx"),
        data=Data((folder / "data.npz",)),
        precision=Precision(0.02, 0.05, 0.95, budget=3000),
        machine=Machine(workers=1),
        out=folder / "run",
        groups=_groups(folder / "groups.json"),
        fit_per_mbit=1000.0,
    )
    return run.folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium that writes down what it logs and asks the network for."""
    chromium, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("chromium and chromedriver are not installed")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield opened
    opened.quit()


def _open(browser: Any, page: Path, dark: bool = False, width: int = 1200) -> None:
    browser.get_log("browser"), browser.get_log("performance")
    features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    metrics = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(page.resolve().as_uri())


def _check_quiet(browser: Any) -> None:
    """Nothing in the console, nothing asked of the network, no name that ran."""
    assert browser.get_log("browser") == []
    sent = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in sent if event["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert len([url for url in asked if url.startswith("file:")]) == 1  # the page itself
    assert browser.execute_script("return window.hacked") is None
    assert browser.execute_script("return document.querySelectorAll('img, script, svg[onload]').length") == 1  # its own


@pytest.mark.parametrize(("dark", "width"), [(False, 1200), (True, 1200), (False, 380), (True, 380)])
def test_every_chart_is_drawn_and_nothing_is_asked_for(browser: Any, study: Path, dark: bool, width: int) -> None:
    _open(browser, study / "report.html", dark, width)
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
    _check_quiet(browser)


def test_tables_sort_by_mouse_and_keyboard(browser: Any, study: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    _open(browser, study / "report.html")
    rows = "return Array.from(document.querySelectorAll('#vulnerable tbody tr'), r => "
    column = rows + "Number(r.cells[{}].dataset.value))"
    heads = browser.find_elements("css selector", "#vulnerable thead button")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", heads[0])
    heads[4].click()
    trials = browser.execute_script(column.format(4))
    assert trials == sorted(trials, reverse=True) and len(trials) == 4
    heads[4].send_keys(Keys.ENTER)
    assert browser.execute_script(column.format(4)) == sorted(trials)
    assert heads[4].find_element("xpath", "..").get_attribute("aria-sort") == "ascending"
    heads[0].click()
    names = browser.execute_script(rows + "r.cells[0].textContent)")
    assert len(set(names)) == 2 and names[0] == names[1]
    _check_quiet(browser)


def test_names_are_text(browser: Any, study: Path) -> None:
    _open(browser, study / "report.html")
    text = browser.execute_script("return document.body.textContent")
    assert HOSTILE in text and IMAGE in text and "<b>net.onnx" in text
    _check_quiet(browser)


def test_pointing_at_a_mark_tells_its_numbers(browser: Any, study: Path) -> None:
    from selenium.webdriver import ActionChains

    _open(browser, study / "report.html")
    mark = browser.find_element("css selector", "#layers .wide [aria-roledescription=bar]")
    settled = "requestAnimationFrame(() => requestAnimationFrame(() => arguments[1]()))"
    browser.execute_async_script(f"arguments[0].scrollIntoView({{block: 'center'}}); {settled}", mark)
    ActionChains(browser).move_to_element(mark).perform()
    tip = browser.find_element("id", "tip")
    assert tip.is_displayed() and re.search(r"weights: [\d.]+ % \[", tip.text)
    _check_quiet(browser)


def test_several_studies_side_by_side(browser: Any, study: Path, tmp_path: Path) -> None:
    path = write_report([study, study], tmp_path / "both.html")
    _open(browser, path)
    assert browser.execute_script("return document.querySelectorAll('.wide svg').length") >= 4
    text = browser.execute_script("return document.body.textContent")
    assert "<b>net.onnx" in text and "<b>net.onnx (2)" in text
    _check_quiet(browser)


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

    _, summary = retell(study)
    assert summary.meaning is not None
    console = Console(file=StringIO(), width=80, color_system=None)
    for block in meaning_tables.blocks(summary.meaning):
        console.print(block)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, said.splitlines())) <= 80
    for words in ("SDC-1", "accuracy lost", "wrong, not SCM", "from 1000 FIT per Mbit"):
        assert words in said
