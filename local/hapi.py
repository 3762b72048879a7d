"""
A real HAPI FHIR JPA server for R4, in memory, built from Maven Central: the open-source server closest to Azure's.

`local/hapi/` holds its whole source: a pom, one class, a log configuration. It is built once into a folder named after
the hash of these, so an old checkout and a new one do not disturb each other; an interrupted build leaves nothing half
done, and several processes may ask at once. Building needs a JDK 17 or newer and Maven, running the JDK alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from local.debian import install_or_explain
from local.fhir_embedded import FhirServer
from local.processes import StartError, running

SOURCES = Path(__file__).parent / "hapi"
CACHE = Path(__file__).parents[1] / ".local"
FILES = ("pom.xml", "HapiServer.java", "logback.xml")
JAR = "hapi-server.jar"

JAVA_VERSION = 17
"""The oldest Java that HAPI 8 runs on."""

JVM_OPTIONS = ("-Xmx1g", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""Quick to start and small (0.6 GB) rather than fast in the long run."""

START_SECONDS = 180.0
"""It takes 12-15 s on two idle cores; test machines are seldom idle."""

_DEBIAN_PACKAGES = ("openjdk-17-jdk-headless", "maven")


@contextlib.contextmanager
def hapi_server(*, on_line: Callable[[str], object] | None = None) -> Iterator[FhirServer]:
    """
    Run a HAPI server, empty, on a free port of the loopback interface for the length of a ``with`` block.

    Parameters
    ----------
    on_line
        Called with what it logs after its start: warnings and defects, never requests.

    Raises
    ------
    StartError
        Java or Maven are missing and could not be installed, the build failed, or the server did not start.
    """
    folder = ensure_built()
    class_path = os.pathsep.join((str(folder / JAR), str(folder / "lib" / "*")))
    command = [_java(), *JVM_OPTIONS, "-cp", class_path, "HapiServer"]
    with running(command, name="HAPI", ready=_base_url, on_line=on_line, seconds=START_SECONDS) as child:
        yield FhirServer(child.announced, child.pid, lambda: child.ended)


def ensure_built(cache_folder: Path = CACHE) -> Path:
    """
    Build the server unless it is there; return the folder that holds its jars.

    Idempotent and safe to call from several processes at once: the first one builds, the others wait.

    Raises
    ------
    StartError
        A tool is missing and could not be installed, or Maven failed; the text holds what it said.
    """
    folder = built_folder(cache_folder)
    if not folder.exists():
        cache_folder.mkdir(parents=True, exist_ok=True)
        with (cache_folder / "hapi.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # released by the kernel, even after SIGKILL
            if not folder.exists():
                _build(folder)
    return folder


def built_folder(cache_folder: Path = CACHE) -> Path:
    """Return where the build of the present sources belongs, built or not."""
    contents = hashlib.sha256(b"\0".join((SOURCES / name).read_bytes() for name in FILES))
    return cache_folder / f"hapi-{contents.hexdigest()[:12]}"


def _base_url(line: str) -> str | None:
    return line.split()[1] if line.startswith("READY ") else None


def _build(folder: Path) -> None:
    _ensure_tools()
    print("Building HAPI from Maven Central (once, 400 MB, about 1 min) ...", file=sys.stderr, flush=True)
    start = time.monotonic()
    work = Path(tempfile.mkdtemp(prefix="building-", dir=folder.parent))
    try:
        for name in FILES:
            shutil.copy(SOURCES / name, work)
        _package(work)
        (work / "target" / JAR).rename(work / JAR)
        (work / "target" / "lib").rename(work / "lib")
        shutil.rmtree(work / "target")
        work.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"Built in {time.monotonic() - start:.0f} s.", file=sys.stderr, flush=True)


def _package(work: Path) -> None:
    maven = ["mvn", "-q", "-B", "-ntp", "package"]
    done = subprocess.run(maven, cwd=work, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        said = (done.stdout + done.stderr).strip()
        raise StartError(f"Maven failed ({done.returncode}); is Maven Central reachable? It said:\n{said[-2000:]}")


def _java() -> str:
    """Return the Java program of JAVA_HOME, else of the path; StartError unless it is new enough."""
    java = _program("java")
    if java is None or _java_version(java) < JAVA_VERSION:
        _install_or_explain([f"Java {JAVA_VERSION} or newer"])
        java = _program("java")
    if java is None:
        raise StartError("Java was installed but is not on the path")
    return java


def _ensure_tools() -> None:
    if missing := missing_tools():
        _install_or_explain(missing)
    if missing := missing_tools():
        raise StartError(f"HAPI still lacks {' and '.join(missing)}; does JAVA_HOME name an older Java?")


def missing_tools() -> list[str]:
    """Return the names of missing build tools, in words for a person; empty if there are none."""
    missing = []
    compiler = _program("javac")
    if compiler is None or _java_version(compiler) < JAVA_VERSION:
        missing.append(f"a JDK {JAVA_VERSION} or newer (javac)")
    if shutil.which("mvn") is None:
        missing.append("Maven (mvn)")
    return missing


def _program(name: str) -> str | None:
    home = os.environ.get("JAVA_HOME")
    return shutil.which(name, path=str(Path(home) / "bin")) if home else shutil.which(name)


def _java_version(program: str) -> int:
    done = subprocess.run([program, "-version"], capture_output=True, text=True, check=False)
    match = re.search(r"(\d+)(?:\.\d+)*", done.stderr + done.stdout)  # 'openjdk version "17.0.15"', 'javac 17.0.15'
    return int(match[1]) if match else 0


def _install_or_explain(missing: list[str]) -> None:
    elsewhere = (
        "macOS: brew install openjdk maven; elsewhere: https://adoptium.net and https://maven.apache.org. "
        "Or use the embedded FHIR server, which needs neither."
    )
    install_or_explain(_DEBIAN_PACKAGES, why=f"HAPI needs {' and '.join(missing)}", elsewhere=elsewhere)
