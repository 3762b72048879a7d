"""A clone of the project as a reader of the pages has it: a folder, a shell, programs that stay."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.running import ROOT

LONGEST = 540.0
"""Seconds that a command may take, and a program until it is ready or has ended; the machine may be busy."""

_NOT_CLONED = shutil.ignore_patterns(".git", ".venv*", ".local", ".*_cache", ".hypothesis", "*.egg-info")
_INSTALLED = re.compile(r"(node|hapi)[-.].*")
"""What of ``.local`` is installed once and not made by a run."""


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


def clone(folder: Path) -> Path:
    """Copy the project as it is, with what `make` installs beside it, but with no file of anybody's run."""
    shutil.copytree(ROOT, folder, ignore=_NOT_CLONED)
    for name, kept in ((".venv", re.compile(r"(?!\.for-).*")), (".local", _INSTALLED)):
        (folder / name).mkdir()
        for path in (ROOT / name).iterdir():
            if kept.fullmatch(path.name):
                (folder / name / path.name).symlink_to(path.resolve())
    for stamp in (".for-demo", ".for-development"):
        (folder / ".venv" / stamp).touch()
    return folder


class Terminal:
    """
    A shell in a folder.

    Parameters
    ----------
    folder
        Where one types.
    profile
        Commands that every new shell begins with.
    environment
        What every program finds in its environment.
    """

    def __init__(self, folder: Path, profile: str = "", **environment: str) -> None:
        self.folder, self._profile = folder, profile
        others = {k: v for k, v in os.environ.items() if not k.startswith(("DICOM_SYNC_", "AzureWebJobsStorage"))}
        self._environment = {**others, **environment}

    def type(self, line: str) -> Ended:
        """Run a line to its end."""
        done = subprocess.run(
            self._command(line),
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    @contextlib.contextmanager
    def staying(self, line: str, ready: str) -> Iterator["Program"]:
        """Run a line that stays, until it says that it is ready; it is ended with the block if it is there still."""
        program = Program(
            subprocess.Popen(
                self._command(f"exec {line}"),  # a shell that runs a script ends at Ctrl-C before its program does
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        )
        try:
            program.wait_for(ready)
            yield program
        finally:
            program.kill()

    def _command(self, line: str) -> list[str]:
        return ["sh", "-c", f"{self._profile}\n{line}"]


class Program:
    """A program that stays until Ctrl-C."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._said: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def said(self) -> str:
        return "".join(self._said)

    def wait_for(self, pattern: str) -> None:
        deadline = time.monotonic() + LONGEST
        while re.search(pattern, self.said) is None:
            assert self._reader.is_alive(), f"it ended: {self.said[-3000:]}"
            assert time.monotonic() < deadline, f"it does not say {pattern!r}: {self.said[-3000:]}"
            time.sleep(0.1)

    def interrupt(self) -> Ended:
        """Press Ctrl-C, which reaches every process of the terminal."""
        os.killpg(self._process.pid, signal.SIGINT)
        code = self._process.wait(LONGEST)
        self._reader.join(LONGEST)
        return Ended(code, self.said, "")

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said.append(line)
