"""
Our values as rows of Table Storage, and back. Pure: no I/O here.

Big parts (attributes, histories) are JSON, compressed, in binary properties of less than 64 KiB each; the whole row
must stay below 1 MiB. Both limits are checked here, because the service's own answer to a breach names neither the row
nor a remedy, and the emulator accepts rows that the service refuses. Times are ISO 8601 text, UTC: the service's own
time type would lose what Python cannot represent, and nobody filters by it.

Source: Azure "Understanding the Table service data model" (property and entity sizes, forbidden characters in keys).
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sync.errors import PermanentError
from sync.model import (
    AuditEntry,
    Cursor,
    DeadLetter,
    DirtyStudy,
    Finding,
    InstanceRecord,
    LedgerRow,
    Locator,
    ObjectKey,
    ObjectRef,
    PatientRow,
    Projection,
    StudyEvent,
    StudyRef,
    SubjectKind,
    digest,
)
from sync.samples import HOUR, MINUTE, Sample, SampleKey, SeriesRow

Entity = dict[str, Any]
"""One row as the library takes it: property name -> text, number, truth value or bytes."""

MAX_PROPERTY_BYTES = 63 * 1024
MAX_ENTITY_BYTES = 1000 * 1024
"""Below the service's 64 KiB and 1 MiB, for names and types count too."""

DIRTY_SHARDS = 16

CURSOR_PARTITION = "cursors"
AUDIT_PARTITION = "audit"
LATEST_PARTITION = "latest"

_END_OF_TIME = 10**17
"""Microseconds since 1970, beyond all that can be: what is counted down from."""

SERIES_PARTITIONS = {MINUTE: "m-%Y%m%d%H", HOUR: "h-%Y%m"}
"""Of measurements: length of a row's time -> form of its partition key."""

_SAFE_KEY = re.compile(r"[A-Za-z0-9._-]{1,200}")
_COMPRESSION = 3
"""Level of zlib: 1-3 differ little in size on such JSON, and higher ones cost more time than the request."""


class RowTooLarge(PermanentError):
    """A row would exceed 1 MiB, the limit of Table Storage."""

    code = "store.row_too_large"
    hint = "The header holds more text than one row can keep; shorten its free-text attributes at the source."


def key_of(text: str) -> str:
    """Return the text itself when it can be a key, else a hash of it."""
    return text if _SAFE_KEY.fullmatch(text) else f"h-{digest(text)}"


def dirty_shard(study: StudyRef) -> str:
    """Partition of a study's dirty row."""
    return f"{int(study.key[:4], 16) % DIRTY_SHARDS:02d}"


def entity_bytes(entity: Mapping[str, Any]) -> int:
    """Bytes that the service counts for the row, rounded up."""
    return sum(8 + 2 * len(name) + _value_bytes(value) for name, value in entity.items()) + 4


def check_size(entity: Entity) -> Entity:
    """Return the row; `RowTooLarge` when the service would refuse it."""
    size = entity_bytes(entity)
    if size > MAX_ENTITY_BYTES:
        raise RowTooLarge(f"a row of {size} bytes exceeds {MAX_ENTITY_BYTES}")
    return entity


def _value_bytes(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-16-le", "surrogatepass")) + 4
    return len(value) + 4 if isinstance(value, bytes) else 8


def _pack(name: str, value: Any) -> Entity:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    data = zlib.compress(text.encode("utf-8", "surrogatepass"), _COMPRESSION)
    starts = range(0, len(data), MAX_PROPERTY_BYTES)
    return {f"{name}{i}": data[start : start + MAX_PROPERTY_BYTES] for i, start in enumerate(starts)}


def _unpack(entity: Mapping[str, Any], name: str) -> Any:
    pieces: list[bytes] = []
    while (piece := entity.get(f"{name}{len(pieces)}")) is not None:
        pieces.append(piece)
    return json.loads(zlib.decompress(b"".join(pieces)).decode("utf-8", "surrogatepass"))


def _study_columns(study: StudyRef) -> Entity:
    return {"study_uid": study.study_instance_uid, "study_partition": study.partition}


def _study_from(entity: Mapping[str, Any]) -> StudyRef:
    return StudyRef(study_instance_uid=entity["study_uid"], partition=entity["study_partition"])


def _findings_list(findings: Iterable[Finding]) -> list[list[str]]:
    return [[finding.keyword, finding.code, finding.action] for finding in findings]


def _findings_from(items: Iterable[list[str]]) -> tuple[Finding, ...]:
    return tuple(Finding(keyword=keyword, code=code, action=action) for keyword, code, action in items)


def _without_none(entity: Entity) -> Entity:
    """Absence stands for None: the service cannot store null."""
    return {name: value for name, value in entity.items() if value is not None}


def _time(value: datetime | None) -> str | None:
    return value.isoformat() if value is not None else None


def _time_from(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def locator_row(locator: Locator) -> Entity:
    """Row of table ``locators``; keeps the object's name, so that a dead letter, which has only the key, can retry."""
    key = locator.object.key
    history = sorted([study.study_instance_uid, study.partition] for study in locator.history)
    row = {
        "PartitionKey": key.partition,
        "RowKey": key.row,
        "account": locator.object.account,
        "container": locator.object.container,
        "name": locator.object.name,
        "etag": locator.etag,
        **(_study_columns(locator.study) if locator.study is not None else {}),
        "sop_uid": locator.sop_instance_uid,
        **(_pack("history", history) if history else {}),
        "settled": locator.settled,
        "has_dead_letter": locator.has_dead_letter,
        "sequence": str(locator.sequence) if locator.sequence is not None else None,
        "order": locator.order or None,
        "contested": locator.contested or None,
    }
    return check_size(_without_none(row))


def locator_from(row: Mapping[str, Any]) -> Locator:
    """Inverse of `locator_row`."""
    history = _unpack(row, "history") if "history0" in row else []
    return Locator(
        object=ObjectRef(account=row["account"], container=row["container"], name=row["name"]),
        etag=row.get("etag"),
        study=_study_from(row) if "study_uid" in row else None,
        sop_instance_uid=row.get("sop_uid"),
        history=frozenset(StudyRef(study_instance_uid=uid, partition=partition) for uid, partition in history),
        settled=row["settled"],
        has_dead_letter=row["has_dead_letter"],
        sequence=int(row["sequence"]) if "sequence" in row else None,
        order=row.get("order", ""),
        contested=row.get("contested", False),
    )


def ledger_row(row: LedgerRow) -> Entity:
    """Row of table ``ledger``."""
    record = row.record
    return check_size(
        {
            "PartitionKey": record.study.key,
            "RowKey": str(row.object_key),
            **_study_columns(record.study),
            "series_uid": record.series_instance_uid,
            "sop_uid": record.sop_instance_uid,
            "order": row.order,
            **_pack("record", [record.attributes, _findings_list(record.findings)]),
        }
    )


def ledger_from(row: Mapping[str, Any]) -> LedgerRow:
    """Inverse of `ledger_row`."""
    attributes, findings = _unpack(row, "record")
    record = InstanceRecord(
        study=_study_from(row),
        series_instance_uid=row["series_uid"],
        sop_instance_uid=row["sop_uid"],
        attributes=attributes,
        findings=_findings_from(findings),
    )
    return LedgerRow(object_key=ObjectKey.parse(row["RowKey"]), record=record, order=row["order"])


def dirty_row(dirty: DirtyStudy) -> Entity:
    """Row of table ``dirty``."""
    row = {
        "PartitionKey": dirty_shard(dirty.study),
        "RowKey": dirty.study.key,
        **_study_columns(dirty.study),
        "first_marked": _time(dirty.first_marked),
        "last_marked": _time(dirty.last_marked),
        "attempts": dirty.attempts,
        "not_before": _time(dirty.not_before),
        "failing_since": _time(dirty.failing_since),
        "distrust": dirty.distrust or None,  # absence is false, so that a touch never takes it away
    }
    return _without_none(row)


def dirty_from(row: Mapping[str, Any]) -> DirtyStudy:
    """Inverse of `dirty_row`."""
    return DirtyStudy(
        study=_study_from(row),
        first_marked=datetime.fromisoformat(row["first_marked"]),
        last_marked=datetime.fromisoformat(row["last_marked"]),
        attempts=row["attempts"],
        not_before=_time_from(row.get("not_before")),
        failing_since=_time_from(row.get("failing_since")),
        distrust=row.get("distrust", False),
    )


def projection_row(projection: Projection) -> Entity:
    """Row of table ``projections``."""
    lists = {
        "elements": sorted(projection.elements),
        "patient_keys": sorted(projection.patient_keys),
        "derived": dict(sorted(projection.derived.items())),
        "shared_hashes": sorted(projection.shared_hashes),
        "findings": _findings_list(projection.findings),
        "patient_findings": _findings_list(projection.patient_findings),
    }
    names = (*_PROJECTION_TEXTS, *_PROJECTION_PLAIN, *_PROJECTION_NEW)
    row = {
        "PartitionKey": projection.study.key,
        "RowKey": "projection",
        **_study_columns(projection.study),
        **{name: getattr(projection, name) for name in names},
        **_pack("lists", lists),
    }
    return check_size(_without_none(row))


_PROJECTION_TEXTS = (
    "version",
    "content_hash",
    "patient_id",
    "patient_key",
    "patient_hash",
    "error",
)
_PROJECTION_NEW = {"announced": "", "announcements": 0}
"""Columns that a row written before there were result events does not have."""

_PROJECTION_PLAIN = ("fhir_id", "adopted", "taken_over", "foreign", "begun", "series", "instances", "finished")


def projection_from(row: Mapping[str, Any]) -> Projection:
    """Inverse of `projection_row`."""
    lists = _unpack(row, "lists")
    return Projection(
        study=_study_from(row),
        elements=frozenset(lists["elements"]),
        patient_keys=frozenset(lists["patient_keys"]),
        derived=lists.get("derived", {}),
        shared_hashes=frozenset(lists.get("shared_hashes", ())),
        findings=_findings_from(lists["findings"]),
        patient_findings=_findings_from(lists.get("patient_findings", [])),
        **dict[str, Any]({name: row.get(name) for name in _PROJECTION_TEXTS}),
        **dict[str, Any]({name: row[name] for name in _PROJECTION_PLAIN}),
        **dict[str, Any]({name: row.get(name, default) for name, default in _PROJECTION_NEW.items()}),
    )


def patient_row(row: PatientRow) -> Entity:
    """Row of table ``patients``."""
    return check_size(
        {
            "PartitionKey": key_of(row.patient_key),
            "RowKey": row.study.key,
            "patient_key": row.patient_key,
            **_study_columns(row.study),
            "study_date": row.study_date,
            **_pack("attributes", row.attributes),
        }
    )


def patient_from(row: Mapping[str, Any]) -> PatientRow:
    """Inverse of `patient_row`."""
    return PatientRow(
        patient_key=row["patient_key"],
        study=_study_from(row),
        study_date=row["study_date"],
        attributes=_unpack(row, "attributes"),
    )


def dead_letter_row(letter: DeadLetter) -> Entity:
    """Row of table ``deadletters``; keeps what a retry needs, which no log and no list shows."""
    return check_size(
        {
            "PartitionKey": letter.kind.value,
            "RowKey": key_of(letter.subject),
            "subject": letter.subject,
            "code": letter.code,
            "detail": letter.detail,
            "hint": letter.hint,
            "first_at": letter.first_at.isoformat(),
            "last_at": letter.last_at.isoformat(),
            "attempts": letter.attempts,
            "queue": letter.queue,
            **(_pack("message", letter.message) if letter.message is not None else {}),
        }
    )


def dead_letter_from(row: Mapping[str, Any]) -> DeadLetter:
    """Inverse of `dead_letter_row`."""
    return DeadLetter(
        kind=SubjectKind(row["PartitionKey"]),
        subject=row["subject"],
        code=row["code"],
        detail=row["detail"],
        hint=row["hint"],
        first_at=datetime.fromisoformat(row["first_at"]),
        last_at=datetime.fromisoformat(row["last_at"]),
        attempts=row["attempts"],
        message=_unpack(row, "message") if "message0" in row else None,
        queue=row.get("queue", ""),
    )


def audit_row(entry: AuditEntry) -> Entity:
    """Row of table ``audit``; its key begins with the time, counted backwards: the newest comes first."""
    left = _END_OF_TIME - int(entry.at.timestamp() * 1_000_000)
    return check_size(
        {
            "PartitionKey": AUDIT_PARTITION,
            "RowKey": f"{left:018d}-{digest(entry.who, entry.action, entry.subject, entry.code, length=16)}",
            "at": entry.at.isoformat(),
            "who": entry.who,
            "action": entry.action,
            "subject": entry.subject,
            "code": entry.code,
            "why": entry.why,
        }
    )


def audit_from(row: Mapping[str, Any]) -> AuditEntry:
    """Inverse of `audit_row`."""
    texts = {name: row[name] for name in ("who", "action", "subject", "code", "why")}
    return AuditEntry(at=datetime.fromisoformat(row["at"]), **texts)


def cursor_row(cursor: Cursor) -> Entity:
    """Row of table ``cursors``, all in one partition: there are few."""
    row = {
        "PartitionKey": CURSOR_PARTITION,
        "RowKey": key_of(cursor.name),
        "name": cursor.name,
        "holder": cursor.holder,
        "held_until": _time(cursor.held_until),
        "advanced_at": _time(cursor.advanced_at),
        **_pack("position", cursor.position),
    }
    return check_size({name: value for name, value in row.items() if value is not None})


def cursor_from(row: Mapping[str, Any]) -> Cursor:
    """Inverse of `cursor_row`."""
    return Cursor(
        name=row["name"],
        position=_unpack(row, "position"),
        holder=row["holder"],
        held_until=_time_from(row.get("held_until")),
        advanced_at=_time_from(row.get("advanced_at")),
    )


def series_keys(seconds: int, start: datetime) -> tuple[str, str]:
    """Partition key of a row of table ``series``, and what its row key begins with; both sort by time."""
    return start.strftime(SERIES_PARTITIONS[seconds]), start.strftime("%Y%m%d%H%M")


def series_row(row: SeriesRow) -> Entity:
    """Row of table ``series``."""
    partition, begins = series_keys(row.seconds, row.start)
    samples = [
        [key.name, key.attributes, each.count, each.total, each.highest, each.buckets]
        for key, each in sorted(row.samples.items())
    ]
    return check_size(
        {
            "PartitionKey": partition,
            "RowKey": f"{begins}-{row.worker}",
            "seconds": row.seconds,
            "start": row.start.isoformat(),
            "worker": row.worker,
            **_pack("samples", samples),
        }
    )


def series_from(row: Mapping[str, Any]) -> SeriesRow:
    """Inverse of `series_row`."""
    samples = {
        SampleKey(name, tuple((k, v) for k, v in attributes)): Sample(count, total, highest, tuple(buckets))
        for name, attributes, count, total, highest, buckets in _unpack(row, "samples")
    }
    return SeriesRow(
        seconds=row["seconds"], start=datetime.fromisoformat(row["start"]), worker=row["worker"], samples=samples
    )


def history_keys(event: StudyEvent) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return partition and row key of an event's two rows: among those of its study, and among those of all."""
    age = newest_first(event.at)
    return (event.study.key, age), (LATEST_PARTITION, f"{age}-{event.study.key}")


def newest_first(moment: datetime) -> str:
    """Text that sorts the later a moment is, the earlier."""
    return f"{_END_OF_TIME - round(moment.timestamp() * 1_000_000):017d}"


def history_row(event: StudyEvent, keys: tuple[str, str]) -> Entity:
    """Row of table ``history``."""
    partition, row = keys
    return {
        "PartitionKey": partition,
        "RowKey": row,
        **_study_columns(event.study),
        "at": event.at.isoformat(),
        "outcome": event.outcome,
        "series": event.series,
        "instances": event.instances,
    }


def history_from(row: Mapping[str, Any]) -> StudyEvent:
    """Inverse of `history_row`."""
    return StudyEvent(
        study=_study_from(row),
        at=datetime.fromisoformat(row["at"]),
        outcome=row["outcome"],
        series=row["series"],
        instances=row["instances"],
    )
