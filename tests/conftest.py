"""What all tests share. Markers (`slow`, `shared`) are declared in pyproject.toml."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def pytest_configure() -> None:
    """A shell's background job is deaf to ^C, and so would be every process that a test starts to stop it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real weights, images and published results; use it under the marker `shared`."""
    named = os.environ.get("ONNXFI_SHARED_DATA")
    if not named:
        pytest.skip("ONNXFI_SHARED_DATA names no folder of real weights and published results")
    folder = Path(named)
    if not folder.is_dir():
        pytest.skip(f"ONNXFI_SHARED_DATA names {folder}, which is no folder")
    return folder


@pytest.fixture(scope="session")
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
