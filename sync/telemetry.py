"""
What the sync tells about itself: counters and structured log lines, free of patient data by construction.

Log fields are hashed keys, codes, counts and seconds. Counters live in the process; their names follow
``area.noun`` and never carry an attribute that comes from a file.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping

logger = logging.getLogger("sync")

_LIBRARIES_THAT_LOG_URLS = ("azure", "httpx", "httpcore", "urllib3", "aiohttp.access", "pydicom")
"""Their lines below WARNING carry blob names, identifiers in query strings, or element values."""


def quieten_libraries() -> None:
    """Keep libraries from logging addresses and values; safe to repeat."""
    for name in _LIBRARIES_THAT_LOG_URLS:
        logging.getLogger(name).setLevel(logging.ERROR if name == "pydicom" else logging.WARNING)


class Telemetry:
    """Counters of this process, and the one way to write a log line."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def count(self, name: str, amount: int = 1) -> None:
        """Add to a counter."""
        self._counts[name] += amount

    def counts(self) -> Mapping[str, int]:
        """All counters so far, by name in order."""
        return dict(sorted(self._counts.items()))

    def event(self, action: str, level: int = logging.INFO, **fields: str | float | None) -> None:
        """Count an action and log it as ``action key=value …``; fields must be keys, codes and numbers."""
        self.count(action)
        if logger.isEnabledFor(level):
            logger.log(level, "%s %s", action, " ".join(f"{k}={v}" for k, v in fields.items() if v is not None))
