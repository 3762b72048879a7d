"""
Queries for dead letters, for operators.

    overview   codes, number and newest ones of each          as cheap for many as for few
    browse     one page of a code                             reads only that page
    show       one dead letter
    secrets    its subject: only for an operator who asks

Actions on them: `sync.dead_letters.actions`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sync.model import DeadLetter, DeadLetterEntry, DeadLetterPage, Locator, ObjectKey, StudyRef, SubjectKind
from sync.monitoring.counts import Count
from sync.ports import Compare, Deliver, Locate, Reject
from sync.ports.operations import NEWEST


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The dead letters of one code; ``newest`` without those deleted since they were counted."""

    code: str
    count: int
    hint: str = ""
    """The hint for operators; empty when all named dead letters are gone."""
    oldest_at: datetime | None = None
    newest: Sequence[DeadLetter] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """Data that may identify a patient: shown only to an operator who asks for it."""

    object: str = field(default="", repr=False)
    """Account, container and name of the object."""
    study: StudyRef | None = field(default=None, repr=False)
    message: str | None = field(default=None, repr=False)


async def overview(counts: Count, s: Reject, *, newest: int = NEWEST) -> Sequence[Group]:
    """
    Group the letters that were counted by code, the largest group first, each with its newest letters.

    Reads a fixed number of rows per code, however many dead letters there are; for the hint one row, once in the life
    of a process.

    Parameters
    ----------
    counts
        The dead letters as `sync.monitoring.counts` counts them.
    newest
        Letters of each code, at most `sync.ports.operations.NEWEST`.
    """
    groups = await asyncio.gather(*(_group(code, counts, newest, s) for code in counts.counts))
    return sorted(groups, key=lambda group: (-group.count, group.code))


async def _group(code: str, counts: Count, newest: int, s: Reject) -> Group:
    group = counts.groups.get(code)
    if group is None:  # counted by a version that stored only the number
        return Group(code=code, count=counts.counts[code], hint=s.caches.hints.get(code, ""))
    letters = await _there(group.newest[:newest], s)
    if code not in s.caches.hints and (read := letters or await _there(group.newest[newest:], s)):
        s.caches.hints[code] = read[0].hint
    hint = s.caches.hints.get(code, "")
    return Group(code=code, count=counts.counts[code], hint=hint, oldest_at=group.oldest, newest=letters)


async def _there(entries: Sequence[DeadLetterEntry], s: Reject) -> Sequence[DeadLetter]:
    stored_letters = await asyncio.gather(*(s.dead_letters.read(entry.kind, entry.subject) for entry in entries))
    return [stored.value for stored in stored_letters if stored is not None]


async def browse(s: Reject, *, code: str | None = None, limit: int = 50, token: str | None = None) -> DeadLetterPage:
    """Return one page of letters, of a code or of all; see `sync.ports.DeadLetters.page`."""
    return await s.dead_letters.page(code=code, limit=limit, token=token)


async def show(kind: SubjectKind, subject: str, s: Reject) -> DeadLetter | None:
    """Return one letter; None when there is none."""
    stored = await s.dead_letters.read(kind, subject)
    return stored.value if stored else None


async def secrets(letter: DeadLetter, s: Deliver) -> Secrets:
    """Return the subject of a dead letter, for an operator who may see patient data."""
    if letter.kind is SubjectKind.OBJECT and (locator := await locator_of(letter.subject, s)) is not None:
        ref = locator.object
        return Secrets(object=f"{ref.account}/{ref.container}/{ref.name}", study=locator.study)
    return Secrets(study=await study_of(letter, s), message=letter.message)


async def study_of(letter: DeadLetter, s: Compare) -> StudyRef | None:
    """Return the study of a letter, which its projection row names; None when there is none."""
    projection = await s.projections.find(letter.subject) if letter.kind is SubjectKind.STUDY else None
    return projection.study if projection is not None else None


async def locator_of(subject: str, s: Locate) -> Locator | None:
    """Return the locator of a letter's object; None when there is none."""
    try:
        stored = await s.locators.find(ObjectKey.parse(subject))
    except ValueError:
        return None
    return stored.value if stored else None
