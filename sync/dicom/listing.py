"""
The instances of a study that a DICOM service holds, even if its search cannot list all of them.

Its search reads the metadata of every hit, so an instance that cannot be read back cannot be listed either. Those that
we know of are asked for by name: as many as are missing are all that there are.
"""

from __future__ import annotations

from collections.abc import Iterable

from sync.errors import NothingStored, SourceGone, StudyUnlisted
from sync.model import ObjectRef, StudyRef
from sync.ports import InstanceSource, RetrievableSource


async def held_objects(source: InstanceSource, study: StudyRef, recorded: Iterable[ObjectRef]) -> set[ObjectRef]:
    """
    Return all instances that a service holds of a study. Only reads.

    Parameters
    ----------
    recorded
        Instances that it held once.

    Raises
    ------
    StudyUnlisted
        It holds others that it cannot name.
    SourceUnavailable
        It did not answer.
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
