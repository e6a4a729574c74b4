"""Debian's chromium without a window, driven by playwright; tests are skipped where it is not to be had.

    from tests.support.stack.browser import chromium  # noqa: F401

OFFLOAD_TEST_CHROMIUM names another browser of that kind.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

_PATIENCE_MILLISECONDS = 30_000
"""A machine that is busy with other tests answers late."""
_NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The browser; each test opens contexts of its own in it."""
    named = os.environ.get("OFFLOAD_TEST_CHROMIUM")
    program = named or next((path for path in map(shutil.which, _NAMES) if path), None)
    if program is None:
        pytest.skip("there is no chromium: apt-get install chromium, or name a browser in OFFLOAD_TEST_CHROMIUM")
    # Chromium's own sandbox refuses to run as root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    expect.set_options(timeout=_PATIENCE_MILLISECONDS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        try:
            yield browser
        finally:
            browser.close()
