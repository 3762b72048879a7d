"""
Result events, to which AI pipelines, worklists and alerting can subscribe.

Each class is the ``data`` of one CloudEvent; docs/events.md and docs/schemas are made of them. A field is never renamed
or removed, nor its meaning changed: that would be a ``v2`` beside this ``v1``. No patient data: hashed keys, FHIR ids,
codes and counts; UIDs only where a setting asks for them.

Source: CloudEvents 1.0.2; Azure Event Grid, "CloudEvents v1.0 schema".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

NAMESPACE = "org.dicom-fhir-sync"


class Result(BaseModel):
    """Base of the events' data."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        alias_generator=to_camel,
        populate_by_name=True,
        defer_build=True,  # built at first use: most processes send one kind of event, or none
    )

    name: ClassVar[str]

    @classmethod
    def type(cls) -> str:
        """Return the type of the CloudEvent."""
        return f"{NAMESPACE}.{cls.name}.v1"

    def data(self) -> dict[str, Any]:
        """Return the data as JSON, without fields that are None."""
        return self.model_dump(by_alias=True, exclude_none=True)


class StudyResult(Result):
    """Data common to all events of one study."""

    study: str
    """Hashed key of the study, as in `api/status` and the log."""
    study_instance_uid: str | None = None
    """Study Instance UID (0020,000D); only with `DICOM_SYNC_EVENTS_UIDS`."""
    partition: str | None = None
    """Data partition of the DICOM service, if any; only with `DICOM_SYNC_EVENTS_UIDS`."""


class StudySynced(StudyResult):
    """FHIR now matches the store for this study: it is new, or its content in FHIR changed."""

    name: ClassVar[str] = "study.synced"

    resource: str
    """Reference to the ImagingStudy, relative to the event's source."""
    series: int
    """Number of series."""
    instances: int
    """Number of instances."""
    findings: int
    """Number of attributes that could not be used."""


class StudyRemoved(StudyResult):
    """The last instance of a study was deleted, and its FHIR resources of the sync with it."""

    name: ClassVar[str] = "study.removed"

    resource: str
    """Former reference of the ImagingStudy. An adopted one still exists, with status cancelled."""


class StudyFailed(StudyResult):
    """A study could not be written and has a dead letter. Success is reported by `study.synced`."""

    name: ClassVar[str] = "study.failed"

    code: str
    """Code of the failure; a heading of the runbook."""
    hint: str
    """Remedy for an operator."""


class InstanceRejected(Result):
    """An object is not a usable DICOM instance in its current state, and has a dead letter."""

    name: ClassVar[str] = "instance.rejected"

    object: str
    """Hashed key of the object, the subject of its dead letter."""
    code: str
    """Code of the failure; a heading of the runbook."""
    hint: str
    """Remedy for an operator."""


class DriftFound(Result):
    """Source, ledger and FHIR disagree."""

    name: ClassVar[str] = "drift.found"

    code: str
    """Kind of drift; a heading of the runbook."""
    study: str | None = None
    """Hashed key of the study, if the drift concerns one."""
    resource: str | None = None
    """Reference to the FHIR resource, relative to the event's source, if the drift concerns one."""
    repaired: bool = False
    """Whether the difference was repaired at once."""


class AlertEvent(Result):
    """The alert that an event reports."""

    alert: str
    """Id of the alert; the same when it is raised and when it is cleared."""
    code: str
    """Code of the alert; a heading of the runbook."""
    severity: Literal["critical", "warning"]
    """Urgency of the alert."""
    text: str
    """Text for people: the value (of a cleared alert the worst one), the threshold, and how to fix a raised alert."""
    value: float
    """Measured value at the time of the event."""
    threshold: float
    """Threshold that the value should not exceed."""


class AlertRaised(AlertEvent):
    """A value exceeds its threshold."""

    name: ClassVar[str] = "alert.raised"


class AlertCleared(AlertEvent):
    """The value has stayed at or below 80 % of its threshold for a while."""

    name: ClassVar[str] = "alert.cleared"


class FeedbackFound(Result):
    """An outcome of a read is known, is corrected, or is known to be of the other side. The inbox holds the outcome."""

    name: ClassVar[str] = "feedback.found"

    resource: str
    """Reference to the Communication that holds the outcome, relative to the event's source."""
    reader: str
    """Hashed key of the reader."""
    rule: str
    """Name of the rule that matched the outcome."""


class ModelOutcome(Result):
    """An outcome of an algorithm's finding is known, is corrected, or is known to be of the other side."""

    name: ClassVar[str] = "model.outcome"

    resource: str
    """Reference to the Communication that holds the outcome, relative to the event's source."""
    model: str
    """Name and version of the algorithm."""
    rule: str
    """Name of the rule that matched the outcome."""
    finding: str
    """Reference to the Observation of the algorithm, relative to the event's source."""
    agreement: Literal["concordant", "discordant"] | None = None
    """Whether finding and outcome agree; absent for sizes, and if the outcome does not count."""
    found_by: Literal["pathology", "procedure", "condition", "implant"] | None = None
    """Kind of record that states the outcome; absent if the outcome does not count."""


class FeedbackDigest(Result):
    """Items that a reader's inbox received in a week; published once per week and reader, for an email or a message."""

    name: ClassVar[str] = "feedback.digest"

    reader: str
    """Hashed key of the reader."""
    rule: str
    """Name of the rule."""
    week: str
    """ISO week, such as 2026-W27."""
    items: int
    """Number of items of that week."""
    unmarked: int
    """Number of these items without a mark."""


RESULTS: tuple[type[Result], ...] = (
    StudySynced,
    StudyRemoved,
    StudyFailed,
    InstanceRejected,
    DriftFound,
    AlertRaised,
    AlertCleared,
    FeedbackFound,
    ModelOutcome,
    FeedbackDigest,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultEvent:
    """
    One event to be sent. ``id`` is the same in every repeat; ``subject`` names the study, object, alert or reader.

    Delivered at least once, in no particular order: a subscriber keeps the ids it has seen.
    """

    id: str
    type: str
    subject: str
    at: datetime
    data: Mapping[str, Any]

    @classmethod
    def of(cls, result: Result, *, id: str, subject: str, at: datetime) -> ResultEvent:  # noqa: A002 -- CloudEvents' word
        """Make the event of a result."""
        return cls(id=id, type=result.type(), subject=subject, at=at, data=result.data())
