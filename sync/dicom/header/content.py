"""
The content tree of a report (PS3.3 C.17.3): the bytes behind its header in, nested plain data out, or a finding.

It is the only body that is read at all, so it has its own limits. A tree that exceeds them is left out; the instance is
kept. Its values may take as much as a table row can hold beside a header, and elements, depth and bytes are counted
separately.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sync.config import HeaderLimits
from sync.dicom.attributes import CONTENT
from sync.dicom.header.encoding import Encoding
from sync.dicom.header.structure import ByteSpan, ElementWalk, Malformed, Short
from sync.dicom.header.text import Flaw
from sync.dicom.header.values import SPECIFIC_CHARACTER_SET, Reader, by_tag
from sync.errors import HeaderLimit
from sync.model import Finding

LARGEST_CONTENT = 512 * 1024
"""Maximum bytes of all values; with a header's `LARGEST_RECORD` they fit a table row even if they do not compress."""

LONGEST_TEXT = 64 * 1024
MOST_BYTES = 8 * 1024 * 1024
"""Maximum bytes of the whole tree with its structure and unread elements, such as private ones and coordinates."""

CONTENT_ROWS = by_tag((CONTENT,))
TOO_LARGE: Flaw = ("content.too_large", "instance only")
_CUT = ("content.truncated", "instance only")
_BROKEN = ("content.malformed", "instance only")


@dataclass(frozen=True, slots=True)
class Content:
    """
    The tree, as an attribute, and findings; without the attribute if the tree could not be used.

    ``end`` is the position of the next element, if known.
    """

    attributes: Mapping[str, list[Any]]
    findings: frozenset[Finding]
    end: int | None = None


def read_content(
    data: bytes, position: int, encoding: Encoding, header: Mapping[int, ByteSpan], limits: HeaderLimits, *, reach: int
) -> Content:
    """
    Read the tree whose sequence starts at ``position``. Pure.

    Parameters
    ----------
    header
        Spans of the header: the tree inherits its character set.
    reach
        Bytes that the object has, or may be read up to.

    Raises
    ------
    Short
        More bytes are needed, and there are more.
    """
    reader = Reader(data, ElementWalk(data, limits), room=LARGEST_CONTENT, longest=LONGEST_TEXT)
    try:
        span = reader.walk.sequence(position, encoding)
        if span.stop - position > MOST_BYTES:
            return _nothing(TOO_LARGE)
        spans = {tag: header[tag] for tag in (SPECIFIC_CHARACTER_SET,) if tag in header} | {CONTENT.tag: span}
        attributes = reader.attributes(spans, CONTENT_ROWS, encoding)
    except Short as short:
        if short.need - position > MOST_BYTES:
            return _nothing(TOO_LARGE)
        if short.need > reach:
            return _nothing(_CUT)
        raise
    except HeaderLimit:
        return _nothing(TOO_LARGE)
    except Malformed:
        return _nothing(_BROKEN)
    return _nothing(TOO_LARGE) if reader.full else Content(attributes, frozenset(reader.findings), span.stop)


def _nothing(flaw: Flaw) -> Content:
    code, action = flaw
    return Content({}, frozenset({Finding(keyword=CONTENT.keyword, code=code, action=action)}))
