"""The name under which a command is recorded."""

from __future__ import annotations

import getpass


def user_name() -> str:
    """Return the name of the user of this machine; ``command line`` for one without a name, as in some containers."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "command line"
