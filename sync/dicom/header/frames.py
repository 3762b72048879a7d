"""
Functional groups of multi-frame images (PS3.3 C.7.6.16): the bytes behind the header in, plain data out, or a finding.

The groups that all frames share are read first. Only if they do not hold the anatomy, the groups of single frames are
read, and equal ones are kept once: a file with thousands of frames adds little to one with two. Like the tree of a
report, the groups have their own limits. Groups that exceed them are left out; the instance is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sync.config import Detail, HeaderLimits
from sync.dicom.attributes import FRAME_ANATOMY, IDENTITY, SHARED_GROUPS
from sync.dicom.header.content import MOST_BYTES
from sync.dicom.header.encoding import Encoding
from sync.dicom.header.structure import NO_TAG, ByteSpan, Damaged, ElementWalk, Malformed, Short
from sync.dicom.header.text import Flaw
from sync.dicom.header.values import SPECIFIC_CHARACTER_SET, Reader, Row, group_rows
from sync.errors import HeaderLimit
from sync.model import Finding

LARGEST_GROUPS = 64 * 1024
"""Maximum bytes of all values; with a header's `LARGEST_RECORD` they fit a table row."""

NOT_READ: Flaw = ("frames.not_read", "instance only")
_PIXELS = 0x7FE00008
_ENDS = frozenset({_PIXELS, _PIXELS + 1, _PIXELS + 8, *(row.tag for row in IDENTITY)})


def read_groups(
    data: bytes,
    position: int,
    encoding: Encoding,
    header: Mapping[int, ByteSpan],
    limits: HeaderLimits,
    *,
    reach: int,
    detail: Detail,
) -> tuple[Mapping[str, list[Any]], frozenset[Finding]]:
    """
    Read the groups that start at or after ``position``. Pure.

    Parameters
    ----------
    header
        Spans of the header: items inherit its character set.
    reach
        Bytes that the object has, or may be read up to.

    Returns
    -------
    tuple
        Attributes, empty if there are no groups, and findings.

    Raises
    ------
    Short
        More bytes are needed, and there are more.
    """
    reader = Reader(data, ElementWalk(data, limits), room=LARGEST_GROUPS)
    charset = {tag: header[tag] for tag in (SPECIFIC_CHARACTER_SET,) if tag in header}
    attributes: dict[str, list[Any]] = {}
    try:
        for tag, rows in group_rows(detail):
            if has_anatomy(attributes):
                break
            spans = _span_of(tag, reader.walk, position, len(data), encoding, reach=reach)
            attributes |= reader.attributes(charset | spans, rows, encoding)
    except Short as short:
        if short.need > reach or short.need - position > MOST_BYTES:
            return attributes, _not_read(rows[tag])
        raise
    except (Malformed, HeaderLimit, Damaged):
        return attributes, _not_read(rows[tag])
    return (attributes, frozenset(reader.findings)) if not reader.full else ({}, _not_read(rows[tag]))


def _span_of(
    tag: int, walk: ElementWalk, position: int, stop: int, encoding: Encoding, *, reach: int
) -> dict[int, ByteSpan]:
    """Walk on to a sequence; raise Short if the bytes at hand end before it and more may be read."""
    spans, ended_by, end = walk.dataset(position, stop, encoding, {tag}, last=tag, ends=_ENDS)
    if ended_by == NO_TAG and not spans and stop < min(reach, position + MOST_BYTES):
        raise Short(end + 8)
    return spans


def _not_read(row: Row) -> frozenset[Finding]:
    code, action = NOT_READ
    return frozenset({Finding(keyword=row.keyword, code=code, action=action)})


def has_anatomy(attributes: Mapping[str, Any]) -> bool:
    """Return whether the shared groups hold the anatomy, so that frames have none of their own (PS3.3 C.7.6.16.1.1)."""
    return any(FRAME_ANATOMY.keyword in group for group in attributes.get(SHARED_GROUPS.keyword) or ())
