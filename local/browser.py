"""Headless Chromium for tests of the dashboard: Debian's package, or any that is installed."""

from __future__ import annotations

import shutil

from local.debian import install_or_explain
from local.processes import StartError

_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
_DEBIAN_PACKAGES = ("chromium", "fonts-dejavu-core", "fonts-noto-core")

OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
"""It opens pages of this machine only: nothing else may be asked for, and as root it has no sandbox."""


def chromium() -> str | None:
    """Return the program, None when there is none."""
    return next((program for name in _NAMES if (program := shutil.which(name))), None)


def ensure_chromium() -> str:
    """
    Return the program; install Debian's when there is none and we may.

    Raises
    ------
    StartError
        No browser is installed, and this process may not install one.
    """
    if chromium() is None:
        elsewhere = "elsewhere any Chromium or Chrome on the PATH will do."
        install_or_explain(_DEBIAN_PACKAGES, why="Testing the dashboard needs Chromium", elsewhere=elsewhere)
    if (program := chromium()) is None:
        raise StartError("Chromium was installed and is not on the PATH")
    return program
