"""
Every failure that the sync can raise, and how it is handled.

    SyncError                    code, hint; the text never holds a value from a file or a resource
    + TransientError             retry_after; the host delivers the message again
    | - SourceUnavailable        the object store did not answer, or answered 5xx
    | | - GarbageAnswer          a DICOM server's answer is not what was asked for: it is another's
    | | - StudyUnlisted          a DICOM service could list only part of a study
    | | - NothingStored          a DICOM service lists nothing, and nothing was ever stored in it
    | - StoreUnavailable         Table or Queue Storage did not answer, or answered 5xx
    | - UnreadableRow            a row of a job is not in the form of this version; it is left as it is
    | - FhirUnavailable          the FHIR service did not answer, or answered 5xx
    | - Throttled                429, with its Retry-After
    | - EventsUnavailable        the topic of result events did not answer
    | - WebhookUnavailable       the receiver of alerts did not answer
    | - Contention               the same race was lost too many times in a row
    | - PhaseTooLong             a phase of a timer took longer than its budget
    | - DeliveryTooLong          a delivery outlived its budget and was cut off
    | - RequestTooLong           the answer to an HTTP request outlived its budget and was cut off
    | - UnexpectedFailure        a defect of ours; the text names the type and place only
    + Conflict                   another writer changed it in between; read again ("second attempt")
    | - StoreConflict            a table row's ETag is another one, or the row is gone or there already
    | - FhirConflict             409 or 412 from the FHIR service
    + PermanentError             a dead letter at once; trying again changes nothing
    | - BadEvent                 the message is not what the schema promises
    | - ForeignSource            an account or container that is not configured
    | - EventsRefused            the topic of result events refuses one for good
    | - MessageTooLarge          no queue takes the message
    | - RowTooLarge              no table takes the row
    | - SourceArchived           the blob is in the archive tier; BlobTierChanged, a retry or a replay reads it
    | - RemovalHeld              the ceiling on removals is reached; an operator confirms or refuses
    | - UnreadableObject         the object can never become an instance, as it is now
    | | - NotDicom, DicomDirectory, TruncatedHeader, DamagedHeader, HeaderLimit, MissingIdentity
    | - AmbiguousMatch           several FHIR resources carry the identifier
    | - FeedMalformed            a change feed is not as documented
    | - InvalidResource          our own validation refused what the mapping built
    | - FhirRejected             400 or 422 from the FHIR service
    | - ForeignLink              the FHIR service links to a page that is not its own
    | - BadReplay                the replay that was asked for cannot be
    | - ReplayTooLong            a list that a replay needs takes too long
    + AccessRefused              the caller of an HTTP function may not do that
    + RequestRefused             what the caller of an HTTP function asks for is not understood, or not there
    + SourceGone                 the object does not exist now; a truth, not a failure
    + FeedMissing                the account keeps no change feed; list it instead
    + StaleToken                 a listing cannot continue from where it was; begin it again
    + SourceChanged              the object was replaced between two ranged reads; read it again
    ConfigError                  at start only; names the setting and what was expected

A bad optional value is none of these: it becomes a `Finding` on the record.
"""

from __future__ import annotations


class SyncError(Exception):
    """
    Base of all failures that the sync itself names.

    Parameters
    ----------
    detail
        What failed, for a log. It must hold no value from a DICOM file, a FHIR resource or a blob name:
        attribute keywords, status codes, byte counts and hashed keys only.
    code
        Stable name, ``area.reason``; a heading of the runbook. Defaults to the class's own.
    hint
        What the operator can do. Defaults to the class's own.
    """

    code = "sync.error"
    hint = "See the log around this time."

    def __init__(self, detail: str = "", *, code: str | None = None, hint: str | None = None) -> None:
        self.code = code or type(self).code
        self.hint = hint or type(self).hint
        self.detail = detail
        super().__init__(f"{self.code}: {detail}" if detail else self.code)


class TransientError(SyncError):
    """Trying again later can help; ``retry_after`` is in seconds, None if the service gave none."""

    code = "transient"

    def __init__(
        self, detail: str = "", *, retry_after: float | None = None, code: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(detail, code=code, hint=hint)
        self.retry_after = retry_after


class SourceUnavailable(TransientError):
    """The object store did not answer, or answered 5xx."""

    code = "source.unavailable"
    hint = "Check that the storage account of the DICOM files is reachable and that the identity may read it."


class GarbageAnswer(SourceUnavailable):
    """A DICOM server answered with success, but not with what was asked for."""

    code = "source.garbage"
    hint = (
        "A proxy or a sign-in page may answer instead of the DICOM server: check DICOM_SYNC_DICOM_URL, "
        "DICOM_SYNC_ORTHANC_URL and the network path. Nothing is treated as deleted meanwhile."
    )


class StudyUnlisted(SourceUnavailable):
    """
    A DICOM service could list only part of a study.

    Parameters
    ----------
    count
        How many instances it has beside those that it named.
    """

    code = "source.unlisted"
    hint = "The DICOM service cannot read back some of the study's instances; store them again, or delete them there."

    def __init__(self, count: int) -> None:
        super().__init__(f"instances of a study that cannot be listed: {count}")
        self.count = count


class NothingStored(SourceUnavailable):
    """
    A DICOM service lists nothing, and its change feed is empty: nothing was ever stored in it, or it is another one.

    An empty list does not prove that a recorded instance is gone.
    """

    code = "source.gateway"
    hint = (
        "The DICOM service is new and empty, or another server answered in its place: check DICOM_SYNC_DICOM_URL. "
        "Nothing is treated as deleted meanwhile."
    )


class StoreUnavailable(TransientError):
    """Table or Queue Storage did not answer, or answered 5xx."""

    code = "store.unavailable"
    hint = (
        "Check that the state storage account, which AzureWebJobsStorage names, is reachable and that the identity may "
        "write to it."
    )


class UnreadableRow(TransientError):
    """A row of a job is not in the form of this version; it stays as it is, and another process may understand it."""

    code = "store.unreadable"
    hint = (
        "Another version of the sync wrote the row of table `cursors`, or it was changed by hand. Let that version end "
        "its job, or correct or delete the row; the runbook says what restarts then."
    )


class FhirUnavailable(TransientError):
    """The FHIR service did not answer, or answered 5xx."""

    code = "fhir.unavailable"
    hint = (
        "Check the health of the FHIR service, and DICOM_SYNC_FHIR_URL; projection continues automatically once it "
        "answers."
    )


class Throttled(TransientError):
    """A service answered 429."""

    code = "fhir.throttled"
    hint = "The FHIR service is at its limit: raise its capacity or lower the number of function instances."


class EventsUnavailable(TransientError):
    """The topic of result events did not answer."""

    code = "events.unavailable"
    hint = "Check the Event Grid topic. The events wait in table `outbox`, and the sync continues."


class WebhookUnavailable(TransientError):
    """The webhook of the alerts did not answer, or refused the notice."""

    code = "alert.webhook"
    hint = "Check DICOM_SYNC_ALERT_WEBHOOK and its format. The notification is retried for an hour."


class Contention(TransientError):
    """The same optimistic race was lost too many times in a row."""

    code = "store.contention"
    hint = "Harmless if rare: the message is redelivered. If it persists, look for a second deployment on this account."


class PhaseTooLong(TransientError):
    """A phase of a timer took longer than its budget and was cut off; its next run continues."""

    code = "timer.too_long"
    hint = "Check which service is slow, or whether the data grew. The next run of the phase continues."


class DeliveryTooLong(TransientError):
    """A delivery outlived its budget and was cut off; it is delivered again."""

    code = "delivery.too_long"
    hint = "Check which service answers slowly or not at all. The message is redelivered."


class RequestTooLong(TransientError):
    """The answer to an HTTP request took longer than its budget and was cut off; what it had written stays."""

    code = "request.too_long"
    hint = "Check which service answers slowly or not at all, then repeat the request; it is idempotent."


class UnexpectedFailure(TransientError):
    """A defect of ours. The text names the exception's type and place, never its message."""

    code = "sync.unexpected"
    hint = "This is a defect: report the type and place named in the log."


class Conflict(SyncError):
    """Another writer changed the row or resource in between: read it again."""

    code = "conflict"


class StoreConflict(Conflict):
    """A table row is not the one that was read (other ETag, gone, or there already)."""

    code = "store.conflict"


class FhirConflict(Conflict):
    """The FHIR service answered 409 or 412."""

    code = "fhir.conflict"


class PermanentError(SyncError):
    """Goes to the dead letters at once."""

    code = "permanent"


class BadEvent(PermanentError):
    """The message is not what the event schema promises."""

    code = "event.malformed"
    hint = "Check which sender writes to the queue `objects`; a backfill finds the object itself."


class ForeignSource(PermanentError):
    """The event names an account or container that is not configured."""

    code = "event.foreign_source"
    hint = "If the container should be synced, add it to DICOM_SYNC_CONTAINERS, then run a backfill of it."


class EventsRefused(PermanentError):
    """The topic of result events answered 400 or 413."""

    code = "events.refused"
    hint = "Check that the topic's input schema is CloudEvents 1.0."


class MessageTooLarge(PermanentError):
    """The message exceeds what a queue takes (64 KiB); Event Grid's own events are far below."""

    code = "event.too_large"
    hint = "Check which sender writes such events; a backfill finds the objects themselves."


class RowTooLarge(PermanentError):
    """A row would exceed 1 MiB, the limit of Table Storage."""

    code = "store.row_too_large"
    hint = "The header has more text than one table row can hold; shorten its free-text attributes at the source."


class SourceArchived(PermanentError):
    """The blob is in the archive tier: it exists, and can't be read until it is rehydrated."""

    code = "source.archived"
    hint = (
        "Rehydrate the blob to the hot, cool or cold tier; the event BlobTierChanged, a retry or a replay then reads "
        "it. Its data in FHIR stay."
    )


class RemovalHeld(PermanentError):
    """More studies would lose instances than the ceiling on removals allows; nothing was removed."""

    code = "removal.held"
    hint = (
        "Check that the source is complete. Then confirm the removals or refuse them: python -m sync removals. An "
        "object that reappears is released automatically."
    )


class UnreadableObject(PermanentError):
    """The object, as it is now, can never become an instance."""

    code = "header.unreadable"
    hint = "Replace or delete the object; either clears this dead letter."


class NotDicom(UnreadableObject):
    """No DICM prefix and no plausible data set."""

    code = "header.not_dicom"


class DicomDirectory(UnreadableObject):
    """A DICOMDIR: an index of files, not an instance (PS3.10 8.6)."""

    code = "header.dicomdir"
    hint = "A DICOMDIR describes other files and is not synced; upload the files it lists."


class TruncatedHeader(UnreadableObject):
    """The file ends inside its header."""

    code = "header.truncated"
    hint = "The file was cut short; send it again."


class DamagedHeader(UnreadableObject):
    """The structure contradicts itself before the identity is certain: it may belong to another study or series."""

    code = "header.damaged"
    hint = "A length in the header is wrong, so its UIDs cannot be relied on; send the file again from its source."


class HeaderLimit(UnreadableObject):
    """The header exceeds one of the configured bounds (bytes, depth, elements, inflated size)."""

    code = "header.limit"
    hint = "If the file is genuine, raise the DICOM_SYNC_HEADER_* limit that the detail names."


class MissingIdentity(UnreadableObject):
    """No usable Study, Series or SOP Instance UID."""

    code = "header.missing_identity"
    hint = "The UID that the detail names is missing or invalid; correct the file at its source."


class AmbiguousMatch(PermanentError):
    """Several FHIR resources carry the identifier; choosing one could mix up patients."""

    code = "fhir.ambiguous"
    hint = "Merge the duplicates in the FHIR service, then retry."


class InvalidResource(PermanentError):
    """Our own validation refused a resource that the mapping built."""

    code = "mapping.invalid"
    hint = "This is a defect of the mapping: report the element path named in the detail."


class FhirRejected(PermanentError):
    """The FHIR service answered 400 or 422."""

    code = "fhir.rejected"
    hint = "Read the issue codes in the detail, fix the cause, then retry."


class AccessRefused(SyncError):
    """The caller of an HTTP function may not do what it asks for; nothing was done."""

    code = "access.not_operator"
    hint = "Ask for the operator role, or see DICOM_SYNC_OPERATORS."


class RequestRefused(SyncError):
    """The request to an HTTP function is malformed, or its subject does not exist; nothing was done."""

    code = "request.malformed"
    hint = "docs/http-api.md names the fields. A body is JSON, or a form with its Content-Type."


class BadReplay(PermanentError):
    """The requested replay is invalid; the detail names the field and what it should hold, never its value."""

    code = "replay.bad_request"
    hint = "Correct what the detail names; nothing was started."


class ReplayTooLong(PermanentError):
    """The list of all instances, which a replay of Orthanc needs, takes longer than a function may run."""

    code = "replay.too_long"
    hint = "Run it as a command: python -m sync replay has no time limit."


class ForeignLink(PermanentError):
    """The FHIR service links to a next page outside its own base URL; it was not followed."""

    code = "fhir.foreign_link"
    hint = "Set DICOM_SYNC_FHIR_URL to the address that the service gives in its own links."


class SourceGone(SyncError):
    """The object does not exist now."""

    code = "source.gone"


class SourceChanged(SyncError):
    """The object was replaced between two ranged reads."""

    code = "source.changed"


class FeedMissing(SyncError):
    """The account of the DICOM files keeps no change feed."""

    code = "feed.missing"
    hint = (
        "Turn on the change feed of the storage account; accounts with a hierarchical namespace have none. Until then "
        "the containers are listed instead; a listing does not show deletions."
    )


class FeedMalformed(PermanentError):
    """A change feed is not as documented."""

    code = "feed.malformed"
    hint = "Nothing is lost: run a backfill instead. If it persists, report the detail."


class StaleToken(SyncError):
    """A listing cannot be resumed at its position."""

    code = "source.stale_token"


class ConfigError(Exception):
    """
    A setting is missing or wrong; the process must not start.

    Parameters
    ----------
    setting
        Name of the environment variable.
    expected
        What it should hold; never what it does hold.
    """

    code = "config.invalid"

    def __init__(self, setting: str, expected: str) -> None:
        self.setting = setting
        self.expected = expected
        super().__init__(f"{setting}: {expected}")
