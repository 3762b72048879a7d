"""
Dead letters as an operator sees them.

    overview   codes, how many of each, the newest            cheap for thousands
    browse     one page of a code                             reads only that page
    show       one letter
    secrets    whose it is: for an operator who asks, and nobody else

What can be done about them: `sync.ops.letter_actions`.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sync.model import DeadLetter, LetterEntry, LetterPage, Locator, ObjectKey, StudyRef, SubjectKind
from sync.ports import Services


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The letters of one code."""

    code: str
    count: int
    hint: str
    oldest: LetterEntry
    newest: Sequence[DeadLetter]


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """What may hold patient data: shown to an operator who asks for it, and to nobody else."""

    object: str = field(default="", repr=False)
    """Account, container and name of the object."""
    study: StudyRef | None = field(default=None, repr=False)
    message: str | None = field(default=None, repr=False)


async def overview(s: Services, *, newest: int = 3) -> Sequence[Group]:
    """Group all letters by code, the largest group first, each with its newest letters."""
    groups: defaultdict[str, list[LetterEntry]] = defaultdict(list)
    for entry in await s.dead_letters.entries():
        groups[entry.code].append(entry)
    found = await asyncio.gather(*(_group(code, entries, newest, s) for code, entries in groups.items()))
    return sorted(found, key=lambda group: (-group.count, group.code))


async def _group(code: str, entries: list[LetterEntry], newest: int, s: Services) -> Group:
    entries.sort(key=lambda entry: (entry.last_at, entry.subject), reverse=True)
    asked = [s.dead_letters.read(entry.kind, entry.subject) for entry in entries[: max(newest, 1)]]
    letters = [stored.value for stored in await asyncio.gather(*asked) if stored is not None]
    hint = letters[0].hint if letters else ""
    oldest = min(entries, key=lambda entry: entry.first_at)
    return Group(code=code, count=len(entries), hint=hint, oldest=oldest, newest=letters[:newest])


async def samples(codes: Sequence[str], s: Services) -> Mapping[str, DeadLetter]:
    """Return one letter of each code, for its hint: a request a code, however many letters there are."""
    pages = await asyncio.gather(*(browse(s, code=code, limit=1) for code in codes))
    return {code: page.letters[0] for code, page in zip(codes, pages, strict=True) if page.letters}


async def browse(s: Services, *, code: str | None = None, limit: int = 50, token: str | None = None) -> LetterPage:
    """Return one page of letters, of a code or of all; see `sync.ports.DeadLetters.page`."""
    return await s.dead_letters.page(code=code, limit=limit, token=token)


async def show(kind: SubjectKind, subject: str, s: Services) -> DeadLetter | None:
    """Return one letter; None when there is none."""
    stored = await s.dead_letters.read(kind, subject)
    return stored.value if stored else None


async def secrets(letter: DeadLetter, s: Services) -> Secrets:
    """Return what the letter's subject is, for an operator who may see patient data."""
    if letter.kind is SubjectKind.OBJECT and (known := await locator_of(letter.subject, s)) is not None:
        ref = known.object
        return Secrets(object=f"{ref.account}/{ref.container}/{ref.name}", study=known.study)
    return Secrets(study=await study_of(letter, s), message=letter.message)


async def study_of(letter: DeadLetter, s: Services) -> StudyRef | None:
    """Return the study of a letter, which its projection row names; None when there is none."""
    known = await s.projections.find(letter.subject) if letter.kind is SubjectKind.STUDY else None
    return known.study if known is not None else None


async def locator_of(subject: str, s: Services) -> Locator | None:
    """Return the locator of a letter's object; None when there is none."""
    try:
        stored = await s.locators.find(ObjectKey.parse(subject))
    except ValueError:
        return None
    return stored.value if stored else None
