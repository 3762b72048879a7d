"""Ranges of study keys. Keys are hashes, so ranges of equal length hold about equally many studies."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncIterator, Sequence
from functools import cache

from sync.config import Settings
from sync.config.mapping import MappingSettings
from sync.model import Projection, digest
from sync.ports import Compare

_DIGITS = 8
_KEYS = 1 << 4 * _DIGITS

FIRST = 200
"""Number of studies from whose keys the number of all is estimated."""

_COMPARED = ("fhir_url", "patient_policy", "cast_patient_system", "dicom_url", "orthanc_url")
"""Settings, besides those of the mapping, that determine the content of FHIR."""


def kind_for(kind: str, settings: Settings) -> str:
    """
    Return the kind of a walk for these settings: only processes that map equally into the same service share one.

    A command may use another FHIR service than the functions, another mapping, or other containers. It then could not
    list the walk's range, or would miss what was added to the settings since.
    """
    mapped = settings.model_dump_json(include={*MappingSettings.model_fields, *_COMPARED})
    return f"{kind}@{digest(mapped, *sorted(settings.containers), length=8)}"


def bound(number: int, ranges: int) -> str:
    """Return the key at which a range ends; empty for the beginning, and for the end of all keys."""
    return f"{number * _KEYS // ranges:0{_DIGITS}x}" if 0 < number < ranges else ""


def range_of(key: str, ranges: int) -> int:
    """Return the number of the range that holds a key: the last one that begins at or before it."""
    return bisect_right(_beginnings(ranges), key) - 1


@cache
def _beginnings(ranges: int) -> tuple[str, ...]:
    return tuple(bound(number, ranges) for number in range(ranges))


async def expected_studies(s: Compare) -> int:
    """Estimate from the first keys how many studies there are; with fewer keys, the number is exact."""
    rows = await s.projections.after("", FIRST)
    if len(rows) < FIRST:
        return len(rows)
    return FIRST * _KEYS // max(int(rows[-1].study.key[:_DIGITS], 16), 1)


async def studies_between(begin: str, end: str, s: Compare, *, size: int) -> AsyncIterator[Sequence[Projection]]:
    """Iterate over the studies of a range (first key exclusive, last inclusive), that many at once. Only reads."""
    key = begin
    while chunk := await s.projections.after(key, size):
        within = [record for record in chunk if not end or record.study.key <= end]
        if within:
            yield within
        if len(within) < len(chunk):
            return
        key = within[-1].study.key
