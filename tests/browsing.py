"""Opening a page in the `browser` of conftest.py, and what must be true of it afterwards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def open_page(browser: Any, page: Path, dark: bool = False, width: int = 1200) -> None:
    browser.get_log("browser"), browser.get_log("performance")
    features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    metrics = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(page.resolve().as_uri())


def check_quiet(browser: Any) -> None:
    """Nothing in the console, nothing asked of the network, no name that ran."""
    assert browser.get_log("browser") == []
    sent = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in sent if event["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert len([url for url in asked if url.startswith("file:")]) == 1  # the page itself
    assert browser.execute_script("return window.hacked") is None
    assert browser.execute_script("return document.querySelectorAll('img, script, svg[onload]').length") == 1  # its own
