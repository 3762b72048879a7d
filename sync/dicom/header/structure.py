"""
The structure of a data set (PS3.5 7): bytes in, spans of the wanted elements out. Nothing is decoded or copied here.

This is our own walk because a general reader does not tell whether the bytes ended inside an element or how many more
are needed, and does not limit depth and element count. Values of defined length are skipped; only undefined lengths are
walked, with our own stack, so that no file can exhaust Python's. Vendors' deviations from the standard are read as
pydicom reads them.
"""

from __future__ import annotations

from collections.abc import Container
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from pydicom.datadict import dictionary_has_tag, repeater_has_tag

from sync.config import HeaderLimits
from sync.dicom.header.encoding import BLANK_VR, LONG_VRS, SHORT_VRS, VRS, Encoding, encoding_at, items_encoding
from sync.errors import HeaderLimit

UNDEFINED = 0xFFFFFFFF
ITEM = 0xFFFEE000
ITEM_DELIMITER = 0xFFFEE00D
SEQUENCE_DELIMITER = 0xFFFEE0DD

NO_TAG = -1

TOO_MANY_ELEMENTS = "more elements than DICOM_SYNC_HEADER_MAX_ELEMENTS"
TOO_DEEP = "sequences deeper than DICOM_SYNC_HEADER_MAX_DEPTH"

_DELIMITERS = 0xFFFE
_IN_ITEM = ITEM - 1
_UID_CHARACTERS = b"0123456789."
_FIRST_OF_BLOCKS = 0x1000
_ITEM_ENDS = frozenset({ITEM_DELIMITER, SEQUENCE_DELIMITER})


class Short(Exception):
    """The bytes at hand end before ``need``; not a failure if the object has more."""

    def __init__(self, need: int) -> None:
        self.need = need


class Malformed(Exception):
    """An item or delimiter was expected, and the bytes are neither; one attribute, or the object, is unreadable."""


class Damaged(Exception):
    """An element was expected, and the bytes cannot be one: an earlier length was wrong."""


class ByteSpan(NamedTuple):
    """
    The position of a value.

    ``vr`` is empty if the element has none, and SQ for every value of undefined length; its delimiter is included.
    """

    vr: bytes
    start: int
    stop: int


def _is_private(tag: int, header: bytes) -> bool:
    """Return whether a tag that two digits or dots begin can be a vendor's: its element is in a block (PS3.5 7.8)."""
    return bool(tag >> 16 & 1 and tag & 0xFFFF >= _FIRST_OF_BLOCKS and header[2:4].strip(_UID_CHARACTERS))


class ElementWalk:
    """
    One walk over the bytes of one object.

    Parameters
    ----------
    data
        Bytes from the start of the object (or of its inflated data set).
    limits
        Limits; if one is exceeded, `HeaderLimit` is raised and names the setting.
    size
        Size of the whole object in bytes, if known: no element reaches farther.
    """

    def __init__(self, data: bytes, limits: HeaderLimits, size: int | None = None) -> None:
        self._data = data
        self._size = size
        self._elements_left = limits.max_elements
        self._max_depth = limits.max_depth
        self._ends: dict[int, int] = {}

    def dataset(  # noqa: C901, PLR0912 -- the one hot loop of the sync: a call an element would double its cost
        self,
        position: int,
        stop: int,
        encoding: Encoding,
        tags: Container[int],
        *,
        last: int = _IN_ITEM,
        ends: Container[int] = _ITEM_ENDS,
        required: AbstractSet[int] = frozenset(),
    ) -> tuple[dict[int, ByteSpan], int, int]:
        """
        Walk one data set; the defaults are those of an item.

        Parameters
        ----------
        position, stop
            Where it starts, and the end of the bytes that it may use.
        tags
            Tags whose spans are returned; of a tag that occurs twice, the later span.
        last, ends, required
            The walk ends before a tag of ``ends``, and before any tag after ``last`` once all of ``required`` were
            found (data sets out of order exist). A tag of ``ends`` must be wanted too, or sort after ``last``.

        Returns
        -------
        tuple
            Spans by tag, the tag that ended the walk (`NO_TAG` when the bytes ended: fewer are left than an element
            header has), and the position there.

        Raises
        ------
        Short
            An element reaches beyond ``stop``.
        Malformed
            An undefined length holds something other than items.
        Damaged
            The bytes after an unwanted element cannot be an element, or a required element occurs twice and differs.
        HeaderLimit
            Too many elements or too deep.
        """
        data = self._data
        read_plain, read_explicit = encoding.plain.unpack_from, encoding.explicit.unpack_from
        implicit, short_vrs, long_vrs = encoding.implicit, SHORT_VRS, LONG_VRS
        spans: dict[int, ByteSpan] = {}
        budget = self._elements_left
        last_header = stop - 8
        while position <= last_header:
            value = position + 8
            if implicit:
                group, element, length = read_plain(data, position)
                vr = b""
            else:
                group, element, vr, length = read_explicit(data, position)
                if vr in short_vrs:
                    pass
                elif vr in long_vrs:
                    value, length = self._long_length(position, stop, encoding)
                elif not b"AA" <= vr <= b"ZZ" and vr != BLANK_VR:
                    group, element, length = read_plain(data, position)
                    vr = b""
            tag = group << 16 | element
            is_wanted = tag in tags
            if (is_wanted or tag > last) and tag in ends:
                break
            if tag > last and last != _IN_ITEM:
                self._expect_element(tag, vr, value + length if length != UNDEFINED else 0, position)
                if group != _DELIMITERS and required <= spans.keys():
                    break
            budget -= 1
            if budget < 0:
                raise HeaderLimit(TOO_MANY_ELEMENTS)
            if length != UNDEFINED:
                end = value + length
                if end > stop:
                    raise Short(end)
            else:
                self._elements_left = budget
                end = self._after_undefined(value, stop, encoding)
                budget, vr = self._elements_left, b"SQ"
            if is_wanted:
                if tag in required and tag in spans:
                    self._expect_same(spans[tag], value, end)
                spans[tag] = ByteSpan(vr, value, end)
            position = end
        else:
            tag = NO_TAG
        self._elements_left = budget
        return spans, tag, position

    def group(self, position: int, number: int, encoding: Encoding) -> tuple[dict[int, ByteSpan], int]:
        """
        Walk the elements of one group, 0..n; return their spans and where the next group starts.

        Raises Short if the bytes end before another group starts.
        """
        data, stop = self._data, len(self._data)
        spans: dict[int, ByteSpan] = {}
        while position + 8 <= stop:
            group, element, _ = encoding.plain.unpack_from(data, position)
            if group != number:
                return spans, position
            self._count_one()
            value, length = self._element(position, stop, encoding)
            end = value + length if length != UNDEFINED else self._after_undefined(value, stop, encoding)
            if end > stop:
                raise Short(end)
            spans[group << 16 | element] = ByteSpan(b"", value, end)
            position = end
        raise Short(position + 8)

    def sequence(self, position: int, encoding: Encoding) -> ByteSpan:
        """Return the span of the sequence whose element header is at ``position``; Short if the bytes end before it."""
        stop = len(self._data)
        start, length = self._element(position, stop, encoding)
        end = start + length if length != UNDEFINED else self._after_undefined(start, stop, encoding)
        if end > stop:
            raise Short(end)
        return ByteSpan(b"SQ", start, end)

    def items(
        self, span: ByteSpan, encoding: Encoding, tags: Container[int], depth: int
    ) -> list[tuple[dict[int, ByteSpan], Encoding]]:
        """
        Return the spans of each item's wanted elements (PS3.5 7.5), each with the item's own encoding.

        ``depth`` is 1 for a sequence of the root. Raises Malformed (or Short) when the sequence is not one, and
        `HeaderLimit` when it lies too deep.
        """
        if depth > self._max_depth:
            raise HeaderLimit(TOO_DEEP)
        data, (position, stop) = self._data, span[1:]
        encoding = items_encoding(data, position, encoding)
        parsed = []
        while position + 8 <= stop:
            group, element, length = encoding.plain.unpack_from(data, position)
            tag = group << 16 | element
            position += 8
            if tag == SEQUENCE_DELIMITER:
                break
            end = stop if length == UNDEFINED else position + length
            if tag != ITEM or end > stop:
                raise Malformed
            inner = encoding_at(data, position, encoding, in_item=True)
            spans, ended_by, position = self.dataset(position, end, inner, tags)
            if ended_by == NO_TAG and data[position:end].strip(b"\0"):
                raise Malformed  # the last value is longer than its length says, or no element follows it
            parsed.append((spans, inner))
            if length != UNDEFINED:
                position = end
            elif ended_by == ITEM_DELIMITER:
                position += 8
        return parsed

    def _expect_element(self, tag: int, vr: bytes, end: int, position: int) -> None:
        """
        Raise Damaged if the bytes at an element's position cannot be an element of the data set itself.

        This reveals a value whose length is too short: a UID continues with digits, an item follows its sequence, or an
        unknown element starts at an odd position, although lengths are even (PS3.5 7.1.1).
        """
        header = self._data[position : position + 8]
        if tag == ITEM or not header.strip(_UID_CHARACTERS):
            raise Damaged
        if vr in VRS or dictionary_has_tag(tag) or repeater_has_tag(tag):
            return
        if position % 2 or (not header[:2].strip(_UID_CHARACTERS) and not _is_private(tag, header)):
            raise Damaged
        if self._size is not None and end > self._size:
            raise Damaged

    def _expect_same(self, span: ByteSpan, start: int, stop: int) -> None:
        if self._data[span.start : span.stop].strip(b" \0") != self._data[start:stop].strip(b" \0"):
            raise Damaged

    def _long_length(self, position: int, stop: int, encoding: Encoding) -> tuple[int, int]:
        value = position + 12
        if value > stop:
            raise Short(value)
        return value, encoding.long.unpack_from(self._data, position + 8)[0]

    def _after_undefined(self, position: int, stop: int, encoding: Encoding) -> int:
        """
        Return the position after the sequence delimiter that closes the value starting at ``position``.

        One walk records the ends of all nested sequences, so that they are not walked again at each level.
        """
        end = self._ends.get(position)
        return end if end is not None and end <= stop else self._walk_undefined(position, stop, encoding)

    def _walk_undefined(self, position: int, stop: int, encoding: Encoding) -> int:
        data = self._data
        encoding = items_encoding(data, position, encoding)
        outer: list[tuple[Encoding, bool, int]] = []
        in_item, began = False, position
        position = self._past_opaque(position, stop, encoding)
        while True:
            self._count_one()
            if position + 8 > stop:
                raise Short(position + 8)
            group, element, length = encoding.plain.unpack_from(data, position)
            tag = group << 16 | element
            if tag == SEQUENCE_DELIMITER and not in_item:
                position += 8
                self._ends[began] = position
                if not outer:
                    return position
                encoding, in_item, began = outer.pop()
            elif tag in _ITEM_ENDS and in_item:
                # A missing item delimiter is tolerated: the sequence's own delimiter closes both.
                position += 8 if tag == ITEM_DELIMITER else 0
                encoding, in_item, began = outer.pop()
            elif in_item:
                position, length = self._element(position, stop, encoding)
                if length == UNDEFINED:
                    self._descend(outer, encoding, in_item, began)
                    in_item, began, encoding = False, position, items_encoding(data, position, encoding)
                    position = self._past_opaque(position, stop, encoding)
                else:
                    position += length
            elif tag != ITEM:
                raise Malformed
            elif length == UNDEFINED:
                position += 8
                self._descend(outer, encoding, in_item, began)
                encoding, in_item = encoding_at(data, position, encoding, in_item=True), True
            else:
                position += 8 + length

    def _element(self, position: int, stop: int, encoding: Encoding) -> tuple[int, int]:
        """Return where the value of the element at ``position`` starts, and its length."""
        if not encoding.implicit:
            vr, length = encoding.explicit.unpack_from(self._data, position)[2:]
            if vr in LONG_VRS:
                return self._long_length(position, stop, encoding)
            if b"AA" <= vr <= b"ZZ" or vr == BLANK_VR:
                return position + 8, length
        return position + 8, encoding.plain.unpack_from(self._data, position)[2]

    def _past_opaque(self, position: int, stop: int, encoding: Encoding) -> int:
        """Return ``position`` if items start there; else the delimiter's position, for values without items."""
        if position + 8 > stop:
            raise Short(position + 8)
        group, element, _ = encoding.plain.unpack_from(self._data, position)
        if group << 16 | element in (ITEM, SEQUENCE_DELIMITER):
            return position
        delimiter = self._data.find(encoding.plain.pack(_DELIMITERS, SEQUENCE_DELIMITER & 0xFFFF, 0), position, stop)
        if delimiter < 0:
            raise Short(stop + 1)
        return delimiter

    def _descend(
        self,
        outer: list[tuple[Encoding, bool, int]],
        encoding: Encoding,
        in_item: bool,  # noqa: FBT001
        began: int,
    ) -> None:
        outer.append((encoding, in_item, began))
        if len(outer) // 2 >= self._max_depth:
            raise HeaderLimit(TOO_DEEP)

    def _count_one(self) -> None:
        self._elements_left -= 1
        if self._elements_left < 0:
            raise HeaderLimit(TOO_MANY_ELEMENTS)
