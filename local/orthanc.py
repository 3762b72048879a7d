"""
A private Orthanc with its DICOMweb plugin: a real DICOM server, on a free port; its files are deleted when it stops.

It comes from Debian's packages. Nothing of an Orthanc that the machine may run already is used or touched: it has a
configuration, a folder and a port of its own, and no DICOM port at all.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from local.debian import install_or_explain
from local.processes import StartError, free_port, running

PACKAGES = ("orthanc", "orthanc-dicomweb")

_PROGRAMS = ("Orthanc", "/usr/sbin/Orthanc")
_PLUGINS = (Path("/usr/share/orthanc/plugins"), Path("/usr/lib/orthanc"), Path("/usr/local/share/orthanc/plugins"))
_STARTED = "Orthanc has started"
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class OrthancServer:
    """A running Orthanc; ``url`` is the base URL of its REST API."""

    url: str
    pid: int
    ended: Callable[[], bool]


@contextlib.contextmanager
def orthanc_server(
    *, dicomweb: bool = True, login: tuple[str, str] | None = None, on_line: Callable[[str], object] | None = None
) -> Iterator[OrthancServer]:
    """
    Run an Orthanc, empty, for the length of a ``with`` block. Storing an instance again overwrites it.

    Parameters
    ----------
    dicomweb
        Whether its DICOMweb plugin is loaded.
    login
        User and password that it wants; None: it wants none.

    Raises
    ------
    StartError
        It is not installed, or did not start.
    """
    program, plugin = ensure_installed()
    with tempfile.TemporaryDirectory(prefix="orthanc-") as folder, contextlib.ExitStack() as stack:
        for attempt in range(_ATTEMPTS):
            port = free_port()  # Orthanc takes no 0 for one
            configuration = Path(folder) / "orthanc.json"
            configuration.write_text(json.dumps(_configuration(folder, port, plugin if dicomweb else None, login)))
            command = [sys.executable, "-m", "local.leash", program, str(configuration)]
            try:
                child = stack.enter_context(running(command, name="Orthanc", ready=_ready, on_line=on_line))
            except StartError:  # another process took the port meanwhile
                if attempt == _ATTEMPTS - 1:
                    raise
                continue
            break
        yield OrthancServer(f"http://127.0.0.1:{port}", child.pid, lambda: child.ended)


def ensure_installed() -> tuple[str, Path]:
    """
    Return the program and its DICOMweb plugin, installing Debian's packages when they are missing and we may.

    Raises
    ------
    StartError
        They are missing; the text says how to get them.
    """
    if (program := _installed()) is None:
        install_or_explain(
            PACKAGES,
            why="Orthanc with its DICOMweb plugin is missing",
            elsewhere="elsewhere: https://www.orthanc-server.com/download.php, with its folder on the path.",
        )
        program = _installed()
    if program is None:
        raise StartError("Orthanc was installed but is not where Debian puts it")
    return program


def _installed() -> tuple[str, Path] | None:
    program = next((path for name in _PROGRAMS if (path := shutil.which(name))), None)
    plugins = (path for folder in _PLUGINS for path in sorted(folder.glob("libOrthancDicomWeb.so*")))
    plugin = next(plugins, None)
    return (program, plugin) if program and plugin else None


def _configuration(folder: str, port: int, plugin: Path | None, login: tuple[str, str] | None) -> dict[str, object]:
    return {
        "Name": "local",
        "StorageDirectory": folder,
        "IndexDirectory": folder,
        "HttpPort": port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": login is not None,
        "RegisteredUsers": dict([login]) if login else {},
        "DicomServerEnabled": False,
        "OverwriteInstances": True,
        "Plugins": [str(plugin)] if plugin else [],
    }


def _ready(line: str) -> bool | None:
    return True if _STARTED in line else None
