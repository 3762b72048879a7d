"""Records the files downloaded so far, so that complete files survive a kill."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

STATE = "state.json"

OnProgress = Callable[[str, int, int | None], None]
"""Called with a type, its number of downloaded resources, and the expected total."""


@dataclass(slots=True)
class TypeState:
    """
    Progress of reading the pages of a type.

    Attributes
    ----------
    following
        Link to the next page; None before the first.
    size
        Bytes of the file that belong to complete pages: the rest is cut off.
    """

    following: str | None = None
    size: int = 0
    resources: int = 0
    done: bool = False


@dataclass(slots=True)
class Progress:
    """
    The state of a download.

    Attributes
    ----------
    base, since, types
        The request; a download for another request starts again.
    time
        Time of the service at the start.
    mode
        ``export`` or ``paging``; empty before it is known.
    status_url
        Of the running export.
    """

    base: str
    since: str | None
    types: list[str]
    time: str | None = None
    mode: str = ""
    status_url: str | None = None
    pages: dict[str, TypeState] = field(default_factory=dict)

    def of(self, kind: str) -> TypeState:
        """Return the state of a type."""
        return self.pages.setdefault(kind, TypeState())

    def save(self, folder: Path) -> None:
        """Save the state; a reader sees the former or the new one."""
        temporary = folder / f"{STATE}.new"
        temporary.write_text(json.dumps(asdict(self)), "utf-8")
        os.replace(temporary, folder / STATE)  # noqa: PTH105 -- the step that counts

    def discard_files(self, folder: Path) -> None:
        """Delete the files downloaded so far: those that follow may have the same names, or the same resources."""
        for file in folder.iterdir():
            if file.name != STATE:
                file.unlink()
        self.pages.clear()


def begin(folder: Path, base: str, since: str | None, types: list[str]) -> Progress:
    """Return the state of an interrupted download of the same, or of a new one in an empty folder."""
    wanted = Progress(base, since, types)
    progress = _load(folder / STATE)
    if progress is not None and (progress.base, progress.since, progress.types) == (base, since, types):
        return progress
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    return wanted


def _load(file: Path) -> Progress | None:
    try:
        raw = json.loads(file.read_text("utf-8"))
        pages = {kind: TypeState(**state) for kind, state in raw.pop("pages").items()}
        return Progress(**raw, pages=pages)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
