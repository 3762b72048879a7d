"""Chromium for tests of pages; they skip, saying so, where it is not installed."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from local.browser import OPTIONS, chromium
from tests.waiting import PATIENCE

RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}}


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


def check_accessible(page: Page) -> None:
    """Hold an open page to axe's rules; nothing of it has to be scrolled sideways."""
    report = Axe().run(page, options=RULES)
    assert report.violations_count == 0, report.generate_report()
    beyond = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert beyond <= 0, f"{page.url} scrolls sideways"
