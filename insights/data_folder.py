"""Files that commands keep beside the tables in the folder of ``collect``: the audit file and the site's key."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

AUDIT = "audit.ndjson"
KEY = "pseudonym.key"


def note(data: Path, noted: Mapping[str, Any]) -> None:
    """
    Add a line to the audit file: time, user and the given facts. The file only grows, and only its owner may read it.

    Raises
    ------
    OSError
        It cannot be written.
    """
    try:
        who = getpass.getuser()
    except (KeyError, OSError):
        who = f"uid {os.getuid()}"
    line = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "who": who, **noted}
    descriptor = os.open(data / AUDIT, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "a", encoding="utf-8") as out:
        out.write(json.dumps(line, sort_keys=True) + "\n")
