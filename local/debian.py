"""Programs that no Python or Node package contains: installed from Debian if permitted, else explained."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

from local.processes import StartError


def install_or_explain(packages: Sequence[str], *, why: str, elsewhere: str) -> None:
    """
    Install Debian's packages when this is Debian and we are root. Idempotent.

    Parameters
    ----------
    why
        Who needs what, as the start of a sentence.
    elsewhere
        How to get it on other systems, and how to do without.

    Raises
    ------
    StartError
        They cannot be installed from here; the text says what to do.
    """
    names = " ".join(packages)
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise StartError(f"{why}. Debian and Ubuntu: sudo apt-get install {names}; {elsewhere}")
    print(f"Installing {names} with apt-get ...", file=sys.stderr, flush=True)
    for arguments in (("update",), ("install", "--yes", "--no-install-recommends", *packages)):
        done = subprocess.run(
            ["apt-get", "-q", *arguments],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode:
            raise StartError(f"apt-get {arguments[0]} failed ({done.returncode}):\n{done.stderr.strip()[-2000:]}")
