"""
The other reader of the same table: DICOM JSON (PS3.18 F.2) in, the `InstanceRecord` of the header reader out.

DICOM services send this instead of bytes, as entries of a change feed and as WADO-RS metadata. Their answers differ in
irrelevant ways: numbers as numbers or as text, hexadecimal digits in either case, an absent ``vr``, ``null`` for an
empty value. All variants are accepted. As in a file, an unreadable value becomes a finding and never fails the
instance.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from sync.config import Detail
from sync.dicom.attributes import (
    CONTENT,
    CONTENT_CLASSES,
    ENHANCED_CLASSES,
    FRAME_GROUPS,
    IDENTITY,
    SHARED_GROUPS,
    USABLE_UID,
)
from sync.dicom.header.content import CONTENT_ROWS, LARGEST_CONTENT, LONGEST_TEXT, TOO_LARGE
from sync.dicom.header.encoding import VRS
from sync.dicom.header.frames import LARGEST_GROUPS, NOT_READ, has_anatomy
from sync.dicom.header.text import DEFAULT, ESCAPE, REPLACEMENT, UNDECODABLE, Flaw, readable, unescape
from sync.dicom.header.values import (
    BEYOND_ASCII,
    INTEGERS,
    KINDS,
    LARGEST_RECORD,
    LONGEST_VALUE,
    MALFORMED,
    PADDING,
    ElementKind,
    Row,
    Values,
    can_stand_for,
    delimiters_of,
    group_rows,
    reals,
    rows_of,
    shortest,
)
from sync.errors import MissingIdentity, UnreadableObject
from sync.model import InstanceRecord, StudyRef

_SOP_CLASS = 0x00080016
_MAX_DEPTH = 32
_LONGEST_INTEGER = 128
"""Bits; no VR has longer values, and Python formats longer integers in quadratic time."""
_EXACT = 2.0**53
_INTEGER = re.compile(r"[+-]?\d{1,20}")
"""Of 64 bits at most, as UV and SV have."""
_GROUPS = ("alphabetic", "ideographic", "phonetic")

_ELSEWHERE: Flaw = ("value.elsewhere", "omitted")


class _Unusable(Exception):
    """The element has no usable value."""

    def __init__(self, flaw: Flaw) -> None:
        self.flaw = flaw


def read_json(
    dataset: Any, *, partition: str = "", identity: Mapping[str, str] | None = None, detail: Detail = "none"
) -> InstanceRecord:
    """
    Read the attributes of one instance from its DICOM JSON. Pure.

    Parameters
    ----------
    dataset
        A JSON object, tag -> element, as ``json.loads`` returns it; its content may be of any type.
    partition
        Data partition of the study.
    identity
        UIDs by keyword that are known already, such as those in the address of the request; they take precedence.
    detail
        How much is read beside `sync.dicom.attributes.EXTRACTED`.

    Raises
    ------
    MissingIdentity
        A UID is missing or unusable; the detail names its keyword.
    UnreadableObject
        It is no JSON object.

    References
    ----------
    DICOM PS3.18 F.2.
    """
    if not isinstance(dataset, Mapping):
        raise UnreadableObject("the metadata is not a JSON object")
    uids = [(identity or {}).get(row.keyword) or _uid(dataset, row.tag) for row in IDENTITY]
    for row, uid in zip(IDENTITY, uids, strict=True):
        if not USABLE_UID.fullmatch(uid):
            raise MissingIdentity(f"{row.keyword} {'is not usable' if uid else 'is missing'}")
    sop, study, series = uids
    reader = _Reader()
    sop_class = _uid(dataset, _SOP_CLASS)
    attributes = reader.attributes(dataset, rows_of(sop_class, detail))
    if sop_class in ENHANCED_CLASSES:
        attributes |= _groups(dataset, reader, detail)
    if sop_class in CONTENT_CLASSES:
        attributes |= _content(dataset, reader)
    return InstanceRecord(
        study=StudyRef(study_instance_uid=study, partition=partition),
        series_instance_uid=series,
        sop_instance_uid=sop,
        attributes=attributes,
        findings=tuple(sorted(reader.findings)) if reader.findings else (),
    )


def _content(dataset: Mapping[str, Any], header: _Reader) -> dict[str, list[Any]]:
    """Read the tree of a report; one beyond its bounds is left out whole."""
    reader = _Reader(room=LARGEST_CONTENT, longest=LONGEST_TEXT)
    tree = reader.attributes(dataset, CONTENT_ROWS)
    if reader.full:
        header.find(CONTENT.keyword, TOO_LARGE)
        return {}
    header.findings |= reader.findings
    return tree


def _groups(dataset: Mapping[str, Any], header: _Reader, detail: Detail) -> dict[str, list[Any]]:
    """Read the functional groups of a multi-frame image; beyond their bounds they are left out."""
    reader = _Reader(room=LARGEST_GROUPS)
    groups: dict[str, list[Any]] = {}
    for _, rows in group_rows(detail):
        if has_anatomy(groups):
            break
        groups |= reader.attributes(dataset, rows)
    if reader.full:
        header.find(FRAME_GROUPS.keyword if FRAME_GROUPS.keyword in groups else SHARED_GROUPS.keyword, NOT_READ)
        return {}
    header.findings |= reader.findings
    return groups


@dataclass(slots=True)
class _Reader(Values):
    """
    Reads the elements of one instance; meanwhile ``findings`` grows and ``room`` shrinks.

    ``full`` is set if an element did not fit or was too deep; ``longest`` is the maximum size of one value.
    """

    room: int = LARGEST_RECORD
    longest: int = LONGEST_VALUE
    full: bool = False
    depth: int = 0

    def attributes(self, dataset: Mapping[str, Any], rows: Mapping[int, Row]) -> dict[str, list[Any]]:
        """Read the elements that have a row, in the order of the table."""
        outer = self.enter()
        values = {}
        for tag, row in rows.items():
            element = _element(dataset, tag)
            if element is not _ABSENT:
                try:
                    values[row.keyword] = self._values(row, element)
                except _Unusable as problem:
                    self.find(row.keyword, problem.flaw)
        self.leave(values, outer)
        return values

    def _values(self, row: Row, element: Any) -> list[Any]:
        if element is None:
            return []
        if not isinstance(element, Mapping):
            raise _Unusable(MALFORMED)
        parts = {str(key).lower(): part for key, part in element.items()}
        vr = _effective_vr(row, parts.get("vr"))
        value = parts.get("value")
        if value is None:
            return self._elsewhere(row, vr, parts)
        values = value if isinstance(value, list) else [value]
        match KINDS[vr]:
            case ElementKind.SEQUENCE:
                return self._items(row, values)
            case ElementKind.INTEGER:
                return _integers(values)
            case ElementKind.REAL:
                return _reals(vr, values)
        return self._texts(row, vr, values)

    def _elsewhere(self, row: Row, vr: bytes, parts: Mapping[str, Any]) -> list[Any]:
        """Read an element without ``Value``: empty, in base64, or given by reference only."""
        binary = parts.get("inlinebinary")
        if binary is None:
            if parts.get("bulkdatauri"):
                raise _Unusable(_ELSEWHERE)
            return []
        if KINDS[vr] is ElementKind.SEQUENCE or not isinstance(binary, str):
            raise _Unusable(MALFORMED)
        self._take(len(binary))
        try:
            raw = base64.b64decode(binary)
        except (binascii.Error, ValueError):
            raise _Unusable(MALFORMED) from None
        if KINDS[vr] is ElementKind.INTEGER:
            return _packed(vr, raw)
        if KINDS[vr] is ElementKind.REAL:
            return _finite(reals(vr, raw))
        text, flaw = DEFAULT.decode(raw, delimiters_of(vr)) if not raw.isascii() else (raw.decode("ascii"), None)
        if flaw:
            self.find(row.keyword, flaw)
        return self.parts(row, vr, self._readable(row, vr, text))

    def _items(self, row: Row, values: list[Any]) -> list[Any]:
        items = [{} if value is None else value for value in values]
        if not all(isinstance(item, Mapping) for item in items):
            raise _Unusable(("sequence.malformed", "omitted"))
        if row.distinct:
            items = _distinct(items, row)
        self._take(8 * len(items))
        if self.depth >= _MAX_DEPTH:
            self.full = True
            return []
        self.depth += 1
        read = []
        for item in items:
            read.append(self.attributes(item, row.children))
            if self.spoiled_item:
                self.spoil(row.keyword)
        self.depth -= 1
        return read

    def _texts(self, row: Row, vr: bytes, values: list[Any]) -> list[Any]:
        texts = [_name(value) if vr == b"PN" and isinstance(value, Mapping) else _text(value) for value in values]
        present = [text for text in texts if text is not None]
        if len(present) < len(texts):
            raise _Unusable(MALFORMED)
        self._take(sum(len(text.encode("utf-8", "surrogatepass")) + 1 for text in present))
        return self.parts(row, vr, self._readable(row, vr, "\\".join(present)))

    def _readable(self, row: Row, vr: bytes, text: str) -> str:
        """Return the text as the file reader returns it; U+FFFD in it marks bytes that the service could not decode."""
        if text.isascii() and chr(ESCAPE) not in text:
            return text
        if chr(ESCAPE) in text:
            text = unescape(text, delimiters_of(vr))
            self.spoil(row.keyword)
        text = readable(text)
        if REPLACEMENT in text:
            self.find(row.keyword, UNDECODABLE)
        if KINDS[vr] is ElementKind.CODE:
            self.find(row.keyword, BEYOND_ASCII)
        return text

    def _take(self, size: int) -> None:
        if size > self.longest or size > self.room:
            self.full = self.full or size > self.room
            raise _Unusable(("value.too_long", "omitted"))
        self.room -= size


_ABSENT = object()


def _element(dataset: Mapping[str, Any], tag: int) -> Any:
    """Return the element of a tag, whose hexadecimal digits may be of either case."""
    key = f"{tag:08X}"
    return dataset.get(key, dataset.get(key.lower(), _ABSENT))


def _effective_vr(row: Row, stated: Any) -> bytes:
    """Return the element's VR if its values can be read for the expected VR."""
    vr = stated.upper().encode("ascii", "replace") if isinstance(stated, str) else b""
    if vr not in VRS or vr == b"UN":
        return row.vr
    if can_stand_for(vr, row.vr):
        return vr
    raise _Unusable(("vr.unexpected", "omitted"))


def _packed(vr: bytes, raw: bytes) -> list[Any]:
    size, signed = INTEGERS[vr]
    if len(raw) % size:
        raise _Unusable(("value.length", "omitted"))
    starts = range(0, len(raw), size)
    return [int.from_bytes(raw[start : start + size], "little", signed=signed) for start in starts]


def _integers(values: list[Any]) -> list[Any]:
    texts = [_text(value) for value in values]
    integers = [int(text) for text in texts if text and _INTEGER.fullmatch(text)]
    if len(integers) < len(texts):
        raise _Unusable(MALFORMED)
    return integers


def _reals(vr: bytes, values: list[Any]) -> list[Any]:
    texts = [_text(value) for value in values]
    try:
        numbers = [float(text) for text in texts if text]
    except ValueError:
        raise _Unusable(MALFORMED) from None
    if len(numbers) < len(texts):
        raise _Unusable(MALFORMED)
    return _finite(shortest(vr, numbers))


def _finite(numbers: list[float] | None) -> list[Any]:
    if numbers is None:
        raise _Unusable(MALFORMED)
    return numbers


def _distinct(items: list[Mapping[str, Any]], row: Row) -> list[Mapping[str, Any]]:
    """Remove duplicates among the items, by the attributes that are read, in the order of the file."""
    kept: dict[str, Mapping[str, Any]] = {}
    for item in items:
        wanted = {str(tag): element for tag in row.children if (element := _element(item, tag)) is not _ABSENT}
        if wanted:
            kept.setdefault(json.dumps(wanted, sort_keys=True, default=repr), item)
    return list(kept.values())


def _uid(dataset: Mapping[str, Any], tag: int) -> str:
    element = _element(dataset, tag)
    if not isinstance(element, Mapping):
        return ""
    value = next((part for key, part in element.items() if str(key).lower() == "value"), None)
    parts: list[Any] = value if isinstance(value, list) else [value]
    # As in a file, several values make the UID unusable: the first alone would be the UID of something else.
    return "\\".join(parts).strip(PADDING) if all(isinstance(part, str) for part in parts) else ""


def _text(value: Any) -> str | None:
    """Return a value as the text that a file would hold; None if it is not a value of DICOM JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, int):
        return str(value) if value.bit_length() <= _LONGEST_INTEGER else None
    if not isfinite(value):
        return None
    return str(int(value)) if value.is_integer() and abs(value) < _EXACT else repr(value)


def _name(value: Mapping[str, Any]) -> str | None:
    """Return a person name as a file would hold it: its component groups, joined by ``=`` (PS3.5 6.2.1)."""
    groups = {str(key).lower(): part for key, part in value.items()}
    parts = [_text(groups.get(name)) for name in _GROUPS]
    present = [part for part in parts if part is not None]
    return "=".join(present).rstrip("=") if len(present) == len(parts) else None
