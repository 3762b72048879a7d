"""Requests for replays, checked before anything begins. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from sync.errors import BadReplay
from sync.model import Json, StudyRef, digest
from sync.model.timestamps import Timestamp, typed_time
from sync.protocol.row_values import RowValue
from sync.protocol.walk_rows import WalkRow

PREFIX = "replay "
"""Prefix of the names of rows and kinds of replays."""

SOURCES = ("blob", "dicom", "orthanc")
SETTING = {"dicom": "DICOM_SYNC_DICOM_URL", "orthanc": "DICOM_SYNC_ORTHANC_URL"}

_UID = re.compile(r"[0-9.]{1,64}")
_FIELDS = frozenset({"source", "from", "to", "study", "partition", "reread", "dry_run"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRequest:
    """
    One replay: of a window of time, or of a study.

    Times are aware UTC: from ``start`` until before ``end``; None is the end of the source. ``reread`` also inspects
    unchanged objects, for instance after an upgrade that reads more attributes.
    """

    source: str
    start: Annotated[Timestamp | None, Field(alias="from")] = None
    end: Annotated[Timestamp | None, Field(alias="to")] = None
    study: StudyRef | None = None
    reread: bool = False

    @property
    def id(self) -> str:
        """
        Return the name of the replay: equal requests have equal names, so a second request begins no second replay.

        A replay of a study reads all its objects again, from any source, so its name depends only on the study.
        """
        if self.study is not None:
            return digest("study", self.study.key, length=12)
        window = [timestamp.isoformat() if timestamp else "" for timestamp in (self.start, self.end)]
        return digest(self.source, *window, str(self.reread), length=12)


_REQUEST: RowValue[ReplayRequest] = RowValue(ReplayRequest)


def cursor_of(request: ReplayRequest) -> str:
    """Name of the replay's row."""
    return PREFIX + request.id


def parse_request(fields: Any, *, configured: Collection[str], now: datetime) -> ReplayRequest:
    """
    Validate the fields of a JSON request: ``source``, ``from``, ``to``, ``study``, ``partition``, ``reread``.

    Parameters
    ----------
    configured
        The configured sources.
    now
        No window may reach beyond it; a window without ``to`` ends where its source does.

    Raises
    ------
    BadReplay
        Naming the first field that is wrong.
    """
    if not isinstance(fields, Mapping):
        raise BadReplay("expected a JSON object with source, from and to")
    if unknown := sorted(set(map(str, fields)) - _FIELDS):
        allowed = ", ".join(sorted(_FIELDS))
        raise BadReplay(f"{len(unknown)} unknown fields; known are {allowed}")
    study = _study(fields)
    source = _source(fields, configured)
    start, end = _timestamp(fields, "from"), _timestamp(fields, "to")
    _check_window(start, end, now, needed=study is None)
    return ReplayRequest(source=source, start=start, end=end, study=study, reread=_flag(fields, "reread"))


def _source(fields: Mapping[str, Any], configured: Collection[str]) -> str:
    source = fields.get("source", "blob")
    if source not in SOURCES:
        raise BadReplay(f"source: expected one of {', '.join(SOURCES)}")
    if source not in configured:
        raise BadReplay(f"source: {source} is not configured; set {SETTING[source]}")
    return str(source)


def _study(fields: Mapping[str, Any]) -> StudyRef | None:
    uid, partition = fields.get("study"), fields.get("partition") or ""
    if not isinstance(partition, str):
        raise BadReplay("partition: expected the name of a data partition")
    if uid is None:
        return None
    if not isinstance(uid, str) or not _UID.fullmatch(uid):
        raise BadReplay("study: expected a Study Instance UID")
    return StudyRef(study_instance_uid=uid, partition=partition)


def _timestamp(fields: Mapping[str, Any], name: str) -> datetime | None:
    text = fields.get(name)
    if text is None:
        return None
    try:
        return typed_time(text)
    except ValueError as problem:
        raise BadReplay(f"{name}: {problem}") from None


def _check_window(start: datetime | None, end: datetime | None, now: datetime, *, needed: bool) -> None:
    if start is None:
        if needed:
            raise BadReplay("from: expected the time that the replay begins at, or a study")
        if end is not None:
            raise BadReplay("from: is needed together with to")
        return
    if start > now:
        raise BadReplay("from: is in the future")
    if end is not None and end > now:
        raise BadReplay("to: is in the future; leave it out for now")
    if end is not None and start >= end:
        raise BadReplay("from: is not before to")


def _flag(fields: Mapping[str, Any], name: str) -> bool:
    value = fields.get(name, False)
    if not isinstance(value, bool):
        raise BadReplay(f"{name}: expected true or false")
    return value


def as_kept(request: ReplayRequest) -> Json:
    """Return the request for the row of its replay, with the replay's name for operators."""
    return {"id": request.id, **_REQUEST.write(request)}


def request_of(row: WalkRow) -> ReplayRequest:
    """
    Return the request that the row of a replay keeps. Inverse of `as_kept`.

    Raises
    ------
    UnreadableRow
        The request is not in the form of this version.
    """
    return _REQUEST.read(row.request, row=row.name)
