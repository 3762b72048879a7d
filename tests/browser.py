"""Chromium for tests of pages; they skip, saying so, where it is not installed."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

from local.browser import OPTIONS, chromium


@contextmanager
def started() -> Iterator[Browser]:
    """Start it for the length of the block."""
    program = chromium()
    if program is None:
        pytest.skip("Chromium is not installed: python -m local prepare --browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(OPTIONS))
        yield browser
        browser.close()
