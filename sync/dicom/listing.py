"""
The instances of a study that a DICOM service holds, even if its search cannot list all of them.

Its search reads the metadata of every hit, so an instance whose metadata are unreadable is not listed either. Recorded
instances are therefore requested by name. If as many exist as the listing lacks, no instance is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable

from sync.errors import NothingStored, SourceGone, StudyUnlisted
from sync.model import ObjectRef, StudyRef
from sync.ports import InstanceSource, RetrievableSource


async def held_objects(source: InstanceSource, study: StudyRef, recorded: Iterable[ObjectRef]) -> set[ObjectRef]:
    """
    Return all instances of a study that a service holds. Only reads.

    Parameters
    ----------
    recorded
        Instances that the service once held.

    Raises
    ------
    StudyUnlisted
        The service holds others that it cannot list.
    SourceUnavailable
        The service did not answer.
    """
    held, known = set[ObjectRef](), set(recorded)
    try:
        async for ref in source.objects_of(study):
            held.add(ref)
    except NothingStored:
        if known:
            raise
    except StudyUnlisted as part:
        if not isinstance(source, RetrievableSource):
            raise
        unlisted = {ref for ref in known if ref not in held and await _holds(source, ref)}
        if len(unlisted) < part.count:
            raise
        held |= unlisted
    return held


async def _holds(source: RetrievableSource, ref: ObjectRef) -> bool:
    try:
        async with source.content(ref):
            return True
    except SourceGone:
        return False
