"""Debian's headless chromium, driven by playwright. Tests are skipped if there is none.

    from tests.support.stack.browser import chromium  # noqa: F401

OFFLOAD_TEST_CHROMIUM names the program of another Chromium browser.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

_PATIENCE_MILLISECONDS = 30_000
"""Long enough for a machine that is busy with other tests."""
_NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The browser, in which each test opens contexts of its own."""
    named = os.environ.get("OFFLOAD_TEST_CHROMIUM")
    program = named or next((path for path in map(shutil.which, _NAMES) if path), None)
    if program is None:
        pytest.skip("There is no chromium. Run apt-get install chromium, or name a browser in OFFLOAD_TEST_CHROMIUM.")
    # Chromium's own sandbox refuses to run as root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    expect.set_options(timeout=_PATIENCE_MILLISECONDS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        try:
            yield browser
        finally:
            browser.close()
