"""Ranges of study keys: keys are hashes, so ranges of one length hold about as many studies."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from sync.config import Settings
from sync.config.mapping import MappingSettings
from sync.model import Projection, digest
from sync.ports import Compare

_DIGITS = 8
_KEYS = 1 << 4 * _DIGITS

FIRST = 200
"""Studies by whose keys the number of all is estimated."""

_COMPARED = ("fhir_url", "patient_policy", "cast_patient_system", "dicom_url", "orthanc_url")
"""Settings beside those of the mapping that say what FHIR should hold."""


def kind_for(kind: str, settings: Settings) -> str:
    """
    Return the kind of a walk for a process with these settings: only those that map the same to the same share one.

    A command may be given the address of another FHIR service than the functions have, another mapping, or other
    containers: then it could not list what the walk covers, or would miss what was added to the settings since.
    """
    mapped = settings.model_dump_json(include={*MappingSettings.model_fields, *_COMPARED})
    return f"{kind}@{digest(mapped, *sorted(settings.containers), length=8)}"


def bound(number: int, ranges: int) -> str:
    """Return where a range of keys ends; empty for the beginning, and for the end of all."""
    return f"{number * _KEYS // ranges:0{_DIGITS}x}" if 0 < number < ranges else ""


async def expected_studies(s: Compare) -> int:
    """Estimate from the first keys how many studies there are; exactly where there are fewer."""
    rows = await s.projections.after("", FIRST)
    if len(rows) < FIRST:
        return len(rows)
    return FIRST * _KEYS // max(int(rows[-1].study.key[:_DIGITS], 16), 1)


async def studies_between(begin: str, end: str, s: Compare, *, size: int) -> AsyncIterator[Sequence[Projection]]:
    """Iterate over the studies of a range, without its first key and with its last, that many at once. Only reads."""
    key = begin
    while chunk := await s.projections.after(key, size):
        within = [record for record in chunk if not end or record.study.key <= end]
        if within:
            yield within
        if len(within) < len(chunk):
            return
        key = within[-1].study.key
