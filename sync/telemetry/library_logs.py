"""Keeps libraries' log lines free of addresses and values; imports little, because every command calls it first."""

from __future__ import annotations

import logging

_LIBRARIES_THAT_LOG_URLS = ("azure", "httpx", "httpcore", "urllib3", "aiohttp.access", "pydicom")
"""Libraries whose lines below WARNING carry blob names, identifiers in query strings, or element values."""


def quieten_libraries() -> None:
    """Keep libraries from logging addresses and values; idempotent."""
    for name in _LIBRARIES_THAT_LOG_URLS:
        logging.getLogger(name).setLevel(logging.ERROR if name == "pydicom" else logging.WARNING)


def quieten_identity() -> None:
    """
    Keep the credential from logging a page for each request without a token; idempotent.

    For commands, which print their own hint. The app keeps the log, because it names the kinds of identity that were
    tried.
    """
    logging.getLogger("azure.identity").setLevel(logging.ERROR)
