"""The output of every command: results on standard output, all else on standard error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from sync.words import tallied

if TYPE_CHECKING:
    from sync.model import Finding, StudyRef

EXIT_REJECTED = 1
"""Some of the requested items were rejected, or are wrong; all others are done."""

EXIT_USAGE = 2
"""The command line or a setting is wrong; nothing was read."""

EXIT_UNAVAILABLE = 3
"""A service did not answer; completed work stays done, and the command may be repeated."""

EXIT_PIPE = 141
"""The reader of standard output went away, as a shell reports SIGPIPE."""


def console() -> Console:
    """Return standard error as the commands write to it: plain text, because values of files may look like markup."""
    return Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


_WIDTH = 120
"""Columns of a table that is not written to a terminal."""


def results(least: int = 0) -> Console:
    """Return standard output for results that people read: tables, as wide as they must be, and sentences."""
    usual = Console().width if sys.stdout.isatty() else _WIDTH
    return Console(highlight=False, markup=False, soft_wrap=True, width=max(usual, least))


class CommandReport:
    """The messages on standard error, for people or for machines."""

    def __init__(self, *, as_json: bool) -> None:
        self.rejected = 0
        self.findings = 0
        self.times_dropped = False
        self.console = console()
        self.as_json = as_json

    def reject(self, subject: str, code: str, detail: str) -> None:
        """Name a file or study that was left out, and why."""
        self.rejected += 1
        line = f"rejected  {shown(subject)}  {code}" + (f": {detail}" if detail else "")
        self._say(line, event="rejected", subject=subject, code=code, detail=detail)

    def find(self, study: StudyRef, findings: Iterable[Finding]) -> None:
        """Name each attribute of a study that could not be used as it is."""
        for finding in findings:
            self.findings += 1
            self.times_dropped |= finding.code == "time.no_offset"
            keyword, code, action = finding.keyword, finding.code, finding.action
            uid = study.study_instance_uid
            line = f"finding   {shown(uid)}  {keyword}  {code}: {action}"
            self._say(line, event="finding", study=uid, keyword=keyword, code=code, action=action)

    def summarise(self, **counts: float) -> None:
        """Print the totals."""
        self._say(f"mapped    {tallied(counts)}", event="summary", **counts)
        if self.times_dropped and not self.as_json:
            self.console.print("hint      set DICOM_SYNC_TIMEZONE, such as Europe/Berlin, to keep the times of day")

    def _say(self, line: str, **fields: str | float) -> None:
        self.console.print(json.dumps(fields) if self.as_json else line)


def shown(name: str) -> str:
    """Return text that is safe on a terminal: characters that cannot be printed are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in name)


@contextmanager
def quiet_broken_pipe() -> Iterator[None]:
    """Stop silently if the reader of standard output goes away."""
    try:
        yield
    except BrokenPipeError:
        # the interpreter flushes standard output once more at exit, and must find it open
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(EXIT_PIPE) from None
