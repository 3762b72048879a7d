"""
The DICOM file format (PS3.10 7): an object's first bytes in, its `InstanceRecord` out, or how many bytes are needed.

A header is complete when the walk reached the object's body (pixel data, SR content, a document), a tag after the last
extracted one, or the object's end at an element boundary. Later elements (contours, waveforms, frame groups) are not
even fetched. An object cut exactly between two elements of its header cannot be told from a short one.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPIPHTJ2KReferencedDeflate,
    MediaStorageDirectoryStorage,
)

from sync.config import Detail, HeaderLimits
from sync.dicom.attributes import (
    CONTENT,
    CONTENT_CLASSES,
    ENHANCED_CLASSES,
    EXTRACTED_OF_DOCUMENTS,
    IDENTITY,
    LAST_TAG,
    USABLE_UID,
)
from sync.dicom.header.content import MOST_BYTES, read_content
from sync.dicom.header.encoding import (
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    VRS,
    Encoding,
    encoding_at,
)
from sync.dicom.header.frames import read_groups
from sync.dicom.header.structure import NO_TAG, ByteSpan, Damaged, ElementWalk, Malformed, Short
from sync.dicom.header.values import KINDS, SPECIFIC_CHARACTER_SET, ElementKind, Reader, by_tag, rows_of
from sync.errors import (
    DamagedHeader,
    DicomDirectory,
    HeaderLimit,
    MissingIdentity,
    NotDicom,
    TruncatedHeader,
    UnreadableObject,
)
from sync.model import Finding, InstanceRecord, StudyRef

PREAMBLE = 128
_META_START = PREAMBLE + 4
_COMMAND_GROUP, _META_GROUP, _PATIENT_GROUP = 0x0000, 0x0002, 0x0010

_MEDIA_STORAGE_SOP_CLASS = 0x00020002
_TRANSFER_SYNTAX = 0x00020010
_DIRECTORY_RECORD_SEQUENCE = 0x00041220
_CONTENT_SEQUENCE = CONTENT.tag
_WAVEFORM_ANNOTATIONS = 0x0040B020
_ENCAPSULATED_DOCUMENT = 0x00420011
_PIXEL_DATA = (0x7FE00008, 0x7FE00009, 0x7FE00010)

_ENDS = frozenset(
    {_DIRECTORY_RECORD_SEQUENCE, _CONTENT_SEQUENCE, _WAVEFORM_ANNOTATIONS, _ENCAPSULATED_DOCUMENT, *_PIXEL_DATA}
)
"""
The tag that identifies a DICOMDIR, and the bodies of reports, waveforms, documents and images. None of our attributes
follows one of these tags, except the label after a content tree.
"""

_SOP_CLASS = 0x00080016
_UIDS = {row.tag: row.keyword for row in IDENTITY}
_SOP_UID, _STUDY_UID, _SERIES_UID = _UIDS
_WANTED = frozenset({SPECIFIC_CHARACTER_SET, *by_tag(EXTRACTED_OF_DOCUMENTS), *_UIDS, *_ENDS})
_WANTED_IN_DETAIL: Mapping[Detail, frozenset[int]] = {
    level: _WANTED | rows_of("", level).keys() for level in get_args(Detail)
}
_BEHIND_CONTENT = frozenset(tag for tag in _WANTED - _ENDS if tag > _CONTENT_SEQUENCE)
_OTHER_VR = ("vr.unexpected", "read as UI")
_DISORDERED = ("header.disordered", "read")

_ENCODINGS = {str(ImplicitVRLittleEndian): IMPLICIT_LITTLE, str(ExplicitVRBigEndian): EXPLICIT_BIG}
"""All other transfer syntaxes, including private and unknown ones, are explicit VR little endian (PS3.5 A.4)."""
_DEFLATED = frozenset({str(DeflatedExplicitVRLittleEndian), str(JPIPHTJ2KReferencedDeflate), "1.2.840.10008.1.2.4.95"})
"""Syntaxes that deflate the whole data set (PS3.5 A.5, A.7); the deflated *frame* syntax leaves the header plain."""

_DEFLATED_BYTES = tuple(uid.encode("ascii") for uid in _DEFLATED)
_META_REACH = 4096
_REPORT_ARC = b"1.2.840.10008.5.1.4.1.1.88."
_SHORT_REPORT = 32 * 1024
_FIRST_INFLATED = 256 * 1024


@dataclass(frozen=True, slots=True)
class NeedMore:
    """The bytes at hand do not hold the whole header: read at least the first ``size``."""

    size: int


@dataclass(frozen=True, slots=True)
class _Meta:
    """The file meta information: where the data set starts, and which encoding and SOP class it declares."""

    end: int
    transfer_syntax: str
    sop_class: str


def parse_header(data: bytes, *, size: int, limits: HeaderLimits, detail: Detail = "none") -> InstanceRecord | NeedMore:
    """
    Read the header of an object from its first bytes. Pure.

    Parameters
    ----------
    data
        The object's first bytes, or all of them.
    size
        The object's size, in bytes.
    limits
        Bounds of depth, elements and inflated size; memory stays within a small multiple of them.
    detail
        How much is read beside `sync.dicom.attributes.EXTRACTED`.

    Returns
    -------
    InstanceRecord or NeedMore
        NeedMore only when ``data`` is shorter than the object.

    Raises
    ------
    NotDicom
        Neither the DICM prefix nor a data set that starts as one must.
    DicomDirectory
        A DICOMDIR.
    TruncatedHeader
        The object ends inside an element of its header.
    MissingIdentity
        A UID is missing or unusable; the detail names its keyword.
    HeaderLimit
        The detail names the setting.
    DamagedHeader
        The structure contradicts itself before the identity is certain.
    UnreadableObject
        The structure is damaged otherwise.

    References
    ----------
    DICOM PS3.10 7.1; PS3.5 7, A.1-A.5.
    """
    whole = len(data) >= size
    try:
        meta = _read_meta(data, limits, whole=whole)
        if meta.sop_class == MediaStorageDirectoryStorage:
            raise DicomDirectory
        if meta.transfer_syntax in _DEFLATED:
            return _parse_deflated(data, meta, limits, detail)
        reach = min(size, limits.max_bytes)
        return _parse_dataset(data, meta.end, meta, limits, detail, whole=whole, reach=reach, size=size)
    except Short as short:
        if short.need > size or whole:
            raise TruncatedHeader(f"{size} bytes") from None
        return NeedMore(short.need)
    except Damaged:
        raise DamagedHeader("elements stand where none can be") from None
    except Malformed:
        raise UnreadableObject("a sequence holds something other than items") from None


def takes_long(data: bytes) -> bool:
    """Return whether parsing may take long, from an object's first bytes: deflated data sets do, and report trees."""
    start = data[:_META_REACH]
    return any(uid in start for uid in _DEFLATED_BYTES) or (len(data) > _SHORT_REPORT and _REPORT_ARC in start)


def _read_meta(data: bytes, limits: HeaderLimits, *, whole: bool) -> _Meta:
    start = _META_START if data[PREAMBLE:_META_START] == b"DICM" else 0
    if start == 0:
        if len(data) < _META_START and not whole:
            raise Short(_META_START)
        if not _starts_like_a_dataset(data):
            raise NotDicom("neither the prefix DICM nor a data set")
    walk = ElementWalk(data, limits)
    encoding = encoding_at(data, start, EXPLICIT_LITTLE, in_item=False)
    spans, end = walk.group(start, _META_GROUP, encoding)
    _, end = walk.group(end, _COMMAND_GROUP, IMPLICIT_LITTLE)

    def uid(tag: int) -> str:
        return _uid(data, spans[tag]) if tag in spans else ""

    return _Meta(end, uid(_TRANSFER_SYNTAX), uid(_MEDIA_STORAGE_SOP_CLASS))


def _starts_like_a_dataset(data: bytes) -> bool:
    """
    Return whether a file without preamble starts with file meta information or with a data set.

    A data set starts with group 0008 (or 0004, in a DICOMDIR), and either a VR or, when implicit, a short value that an
    element of a later tag follows. Text, archives and images do not.
    """
    if data[:2] in (b"\x02\0", b"\x08\0", b"\x04\0", b"\0\x08", b"\0\x04") and data[4:6] in VRS:
        return True
    if data[:2] not in (b"\x08\0", b"\x04\0"):
        return False
    element, length = int.from_bytes(data[2:4], "little"), int.from_bytes(data[4:8], "little")
    following = data[8 + length : 12 + length]
    group, next_element = int.from_bytes(following[:2], "little"), int.from_bytes(following[2:], "little")
    first = data[0]
    return first <= group <= _PATIENT_GROUP and (group > first or next_element > element)


def _parse_deflated(data: bytes, meta: _Meta, limits: HeaderLimits, detail: Detail) -> InstanceRecord:
    """Inflate in doubling steps until the header is complete; the limit holds whatever the stream would inflate to."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    remainder, plain = data[meta.end :], b""
    target = _FIRST_INFLATED
    while True:
        target = min(target, limits.max_inflated_bytes)
        try:
            plain += inflater.decompress(remainder, target - len(plain))
        except zlib.error:
            raise UnreadableObject("the deflated data set is damaged") from None
        remainder = inflater.unconsumed_tail
        try:
            return _parse_dataset(plain, 0, meta, limits, detail, whole=inflater.eof, reach=limits.max_inflated_bytes)
        except Short as short:
            if inflater.eof:
                raise TruncatedHeader("the deflated data set ends early") from None
            if len(plain) < target:
                raise Short(len(data) + 1) from None
            if max(target, short.need - 1) >= limits.max_inflated_bytes:
                raise HeaderLimit("inflates beyond DICOM_SYNC_HEADER_MAX_INFLATED_BYTES") from None
            target = max(2 * target, short.need)


def _parse_dataset(
    data: bytes,
    start: int,
    meta: _Meta,
    limits: HeaderLimits,
    detail: Detail,
    *,
    whole: bool,
    reach: int,
    size: int | None = None,
) -> InstanceRecord:
    walk = ElementWalk(data, limits, size)
    encoding = encoding_at(data, start, _declared_encoding(data, start, meta), in_item=False)
    spans, ended_by, position = walk.dataset(
        start, len(data), encoding, _WANTED_IN_DETAIL[detail], last=LAST_TAG, ends=_ENDS, required=_UIDS.keys()
    )
    if ended_by == _DIRECTORY_RECORD_SEQUENCE:
        raise DicomDirectory
    if ended_by == NO_TAG and not (whole and _is_padding(data[position:], encoding)):
        raise Short(position + 8)
    reader = Reader(data, walk)
    _check_structure(spans, reader)
    study, series, sop = (_identity(data, spans, tag) for tag in (_STUDY_UID, _SERIES_UID, _SOP_UID))
    sop_class = _uid(data, spans[_SOP_CLASS]) if _SOP_CLASS in spans else meta.sop_class
    reach = len(data) if whole else reach
    groups: Mapping[str, list[Any]] = {}
    notes: frozenset[Finding] = frozenset()
    if sop_class in ENHANCED_CLASSES and ended_by > LAST_TAG:
        groups, notes = read_groups(data, position, encoding, spans, limits, reach=reach, detail=detail)
    content = None
    if ended_by == _CONTENT_SEQUENCE:
        if sop_class in CONTENT_CLASSES:
            content = read_content(data, position, encoding, spans, limits, reach=reach)
        end = _end_of_content(walk, position, encoding, reach=reach) if content is None else content.end
        spans |= _behind_content(walk, end, len(data), encoding, reach=reach)
    attributes = reader.attributes(spans, rows_of(sop_class, detail), encoding)
    attributes.update(groups)
    reader.findings |= notes
    if content is not None:
        reader.findings |= content.findings
        attributes.update(content.attributes)
    if not attributes.get("SOPClassUID") and USABLE_UID.fullmatch(meta.sop_class):
        attributes["SOPClassUID"] = [meta.sop_class]
    return InstanceRecord(
        study=StudyRef(study_instance_uid=study),
        series_instance_uid=series,
        sop_instance_uid=sop,
        attributes=attributes,
        findings=tuple(sorted(reader.findings)) if reader.findings else (),
    )


def _check_structure(spans: Mapping[int, ByteSpan], reader: Reader) -> None:
    """
    Note groups out of order (PS3.5 7.1) and UIDs with another VR, as some writers produce them.

    Raises Damaged for a UID whose VR holds no text.
    """
    for tag, keyword in _UIDS.items():
        vr = spans[tag].vr if tag in spans else b"UI"
        if vr in VRS and vr not in (b"UI", b"UN"):
            if KINDS.get(vr) not in (ElementKind.TEXT, ElementKind.CODE):
                raise Damaged
            reader.find(keyword, _OTHER_VR)
    before = 0
    for tag in spans:
        if tag >> 16 < before:
            reader.find(_UIDS.get(tag, _UIDS[_STUDY_UID]), _DISORDERED)
            return
        before = tag >> 16


def _end_of_content(walk: ElementWalk, position: int, encoding: Encoding, *, reach: int) -> int | None:
    """Return where the content tree at ``position`` ends; None if it is truncated, broken or exceeds its limits."""
    try:
        return walk.sequence(position, encoding).stop
    except Short as short:
        if short.need > reach or short.need - position > MOST_BYTES:
            return None
        raise
    except (Malformed, HeaderLimit):
        return None


def _behind_content(
    walk: ElementWalk, end: int | None, stop: int, encoding: Encoding, *, reach: int
) -> Mapping[int, ByteSpan]:
    """Read on after a content tree, where the document's label is. Raise Short if more bytes exist and are needed."""
    if end is None:
        return {}
    try:
        return walk.dataset(end, stop, encoding, _BEHIND_CONTENT, last=LAST_TAG, ends=_ENDS)[0]
    except Short as short:
        if short.need > reach:
            return {}
        raise
    except (Malformed, HeaderLimit, Damaged):
        return {}


def _declared_encoding(data: bytes, start: int, meta: _Meta) -> Encoding:
    if meta.transfer_syntax:
        return _ENCODINGS.get(meta.transfer_syntax, EXPLICIT_LITTLE)
    if data[start + 4 : start + 6] not in VRS:
        return IMPLICIT_LITTLE
    # Groups 0004 and 0008 of a big-endian data set, read the other way round, are 0400 and 0800.
    return EXPLICIT_BIG if data[start] == 0 and data[start + 1] != 0 else EXPLICIT_LITTLE


def _is_padding(remainder: bytes, encoding: Encoding) -> bool:
    """
    Return whether the bytes after the last element are only padding.

    NUL bytes are padding, unless they could be the start of a truncated big-endian tag.
    """
    return not remainder or (not encoding.big_endian and not remainder.strip(b"\0"))


def _identity(data: bytes, spans: Mapping[int, ByteSpan], tag: int) -> str:
    uid = _uid(data, spans[tag]) if tag in spans else ""
    if not USABLE_UID.fullmatch(uid):
        raise MissingIdentity(f"{_UIDS[tag]} {'is not usable' if uid else 'is missing'}")
    return uid


def _uid(data: bytes, span: ByteSpan) -> str:
    return data[span.start : span.stop].strip(b" \0").decode("latin-1")
