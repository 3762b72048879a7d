"""The result of inspecting an object: the record of an instance, a problem, or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sync.errors import UnreadableObject
from sync.model.identity import StudyRef

Attributes = Mapping[str, Sequence[Any]]
"""
Extracted attributes of one instance: DICOM keyword -> values, as `sync.dicom.attributes` lists them.

Values are text as the file has it, decoded and without padding (dates stay ``YYYYMMDD``, person names keep ``^`` and
``=``), integers for binary VRs, and nested `Attributes` for the items of a sequence. A keyword that is absent means
that the attribute is absent; an empty sequence means present but empty. Serialises to JSON unchanged.
"""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Finding:
    """
    An attribute that could not be used as it is. It never holds the value.

    ``keyword`` is the DICOM keyword, ``code`` says what is wrong (``date.impossible``), ``action`` what was done
    (``omitted``).
    """

    keyword: str
    code: str
    action: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRecord:
    """The content of one header: the identity of the instance and its extracted attributes."""

    study: StudyRef
    series_instance_uid: str
    sop_instance_uid: str
    attributes: Attributes
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """
    The state of an object when it was inspected; exactly one of three.

    A ``record`` (the object is an instance), a ``problem`` (it exists and can never become one), or neither (it is
    gone; ``etag`` is None). ``lacking`` are the keywords of attributes that a service's metadata must have left out of
    the record.
    """

    etag: str | None
    order: str = ""
    """When the store last changed the object, ISO 8601 UTC. Used for one decision: whether a feed entry with a lower
    sequence is older, or the service started counting again (`sync.protocol.claims`)."""
    record: InstanceRecord | None = None
    problem: UnreadableObject | None = None
    lacking: tuple[str, ...] = ()
