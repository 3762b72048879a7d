"""The log of both programs, the host and the process of its worker: one form, on stderr."""

from __future__ import annotations

import logging


def start_log() -> None:
    """Write the log of this process to stderr; of the storage library only warnings, as it logs each request."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("azure").setLevel(logging.WARNING)
