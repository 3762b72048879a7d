"""Chromium for tests of pages; they skip, saying so, where it is not installed."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from local.browser import OPTIONS, chromium
from tests.waiting import PATIENCE


@contextmanager
def started() -> Iterator[Browser]:
    """Start it for the length of the block."""
    program = chromium()
    if program is None:
        pytest.skip("Chromium is not installed: python -m local prepare --browser")
    expect.set_options(timeout=PATIENCE * 5_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(OPTIONS))
        yield browser
        browser.close()
