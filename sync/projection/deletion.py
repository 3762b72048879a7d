"""
Deletes resources that the sync created, unless others refer to them.

    search for referrers  ->  delete  ->  search again  ->  put back what was referred to in between

Servers with referential integrity refuse such a deletion by themselves; Azure's and many others do not, and no server
fences a DELETE. So a reference that another system writes before the deletion is honoured on every server. A reference
written after it points to a resource that its writer could have known to be gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sync.errors import FhirConflict, FhirRejected
from sync.mapping.resource import unstamped
from sync.model import FhirWrite, Resource
from sync.ports import Compare


async def delete_unreferenced(references: Sequence[str], s: Compare) -> Sequence[str]:
    """
    Delete resources to which nothing refers except resources deleted with them. Idempotent.

    Parameters
    ----------
    references
        Resources to delete, as ``Type/id``; each before those that it refers to.

    Returns
    -------
    Sequence
        The resources that stay, because others refer to them.

    Raises
    ------
    TransientError
        FHIR did not answer. The next attempt then puts back what was referred to during the deletion.
    """
    going = _free(await s.fhir.referrers(references))
    to_delete = [reference for reference in references if reference in going]
    if not to_delete:
        return list(references)
    held = dict(zip(to_delete, await s.fhir.read_all(to_delete), strict=True))
    deleted = await _delete(to_delete, s)
    # Search again after the deletion: a reference that was written before it is seen now, and its target is put back.
    again = deleted and {reference for reference, referrers in (await s.fhir.referrers(deleted)).items() if referrers}
    back = [write for reference in again or () if (write := _put_back(held[reference])) is not None]
    if back:
        await s.fhir.transact(back)
    deleted_for_good = set(deleted) - {write.reference for write in back}
    return [reference for reference in references if reference not in deleted_for_good]


async def put_back_if_referenced(reference: str, s: Compare) -> bool:
    """
    Put back a deleted resource to which others refer; return whether it was put back. Idempotent.

    An attempt that died between its deletion and its second search leaves this to the next attempt.
    """
    if not (await s.fhir.referrers([reference]))[reference]:
        return False
    write = _put_back(await s.fhir.last_version(*reference.split("/")))
    if write is None:
        return False
    await s.fhir.transact([write])
    return True


def _free(referrers: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Return the resources to which nothing refers except resources that are themselves free."""
    free = frozenset(referrers)
    while referred := {reference for reference in free if referrers[reference] - free}:
        free -= referred
    return free


async def _delete(references: Sequence[str], s: Compare) -> Sequence[str]:
    """Delete in one Bundle if the server allows it, else one by one; return the deleted resources."""
    try:
        await s.fhir.transact([_deletion(reference) for reference in references])
    except (FhirConflict, FhirRejected):
        return [reference for reference in references if len(references) > 1 and await _deletes(reference, s)]
    return references


async def _deletes(reference: str, s: Compare) -> bool:
    try:
        await s.fhir.transact([_deletion(reference)])
    except (FhirConflict, FhirRejected):
        return False
    return True


def _deletion(reference: str) -> FhirWrite:
    resource_type, resource_id = reference.split("/")
    return FhirWrite(resource_type=resource_type, resource_id=resource_id)


def _put_back(held: Resource | None) -> FhirWrite | None:
    if held is None:
        return None
    return FhirWrite(resource_type=held["resourceType"], resource_id=held["id"], resource=unstamped(held))
