"""
Resources that many studies refer to: the Endpoint and the Devices.

Every study builds the same bytes for them, so no two studies can overwrite each other's. Each resource is read once per
process, and whenever the cached projection is bypassed. It stays when the study is removed, because other resources may
refer to it.
"""

from __future__ import annotations

from sync.mapping.imaging_study import StudyResources
from sync.mapping.ownership import Ownership, differs, overlay
from sync.mapping.resource import content_hash, version_of
from sync.model import FhirWrite, Resource
from sync.ports import Compare, Core
from sync.projection.held import ProjectionAttempt


async def shared_writes(p: ProjectionAttempt, built: StudyResources, s: Compare) -> list[FhirWrite]:
    """Return the writes that shared resources need. Only reads."""
    writes = [await _write_of(resource, s) for resource in built.shared if not _is_known(p, content_hash(resource), s)]
    return [write for write in writes if write is not None]


def _is_known(p: ProjectionAttempt, digest: str, s: Core) -> bool:
    return p.trust and (
        digest in s.caches.verified_resources or (p.before is not None and digest in p.before.shared_hashes)
    )


async def _write_of(resource: Resource, s: Compare) -> FhirWrite | None:
    kind, resource_id = resource["resourceType"], resource["id"]
    held = await s.fhir.read(kind, resource_id)
    if held is None:
        return FhirWrite(resource_type=kind, resource_id=resource_id, resource=resource)
    expected = overlay(held, resource, Ownership.of_exactly(resource))
    if not differs(held, expected):
        return None
    return FhirWrite(resource_type=kind, resource_id=resource_id, resource=expected, if_match=version_of(held))
