"""
Character sets (PS3.5 6.1, PS3.3 C.12.1.1.2): bytes and (0008,0005) in, text out, never a failure.

The terms and escape sequences are pydicom's tables. The decoding is our own, because pydicom reports what it could not
decode by warnings only, and because undecodable text must leave a finding.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from pydicom.charset import CODES_TO_ENCODINGS, STAND_ALONE_ENCODINGS, default_encoding, python_encoding

ESCAPE = 0x1B
_FRAGMENTS = re.compile(rb"^[^\x1b]+|\x1b[^\x1b]*")
_TEXT_FRAGMENTS = re.compile("^[^\x1b]+|\x1b[^\x1b]*")
_FOUR_BYTE_ESCAPES = (b"\x1b$(", b"\x1b$)")
_ASCII, _KATAKANA, _LATIN_9 = "ascii", "shift_jis", "iso8859_15"
_TERMS = python_encoding | {
    "ISO_IR 6": _ASCII,
    "ISO 2022 IR 6": _ASCII,
    "ISO_IR 203": _LATIN_9,
    "ISO 2022 IR 203": _LATIN_9,
}
"""Defined terms (PS3.3 Tables C.12-2 to C.12-5) as Python codecs; the default repertoire has seven bits."""
_BACK_TO_ASCII = b"\x1b(B"
_ESCAPES = CODES_TO_ENCODINGS | {b"\x1b-b": _LATIN_9}
_NOT_JIS_X_0201 = re.compile(rb"[\x80-\xa0\xe0-\xff]")
_SELF_ESCAPED = frozenset({"iso2022_jp", "iso2022_jp_2"})
"""Character sets whose Python codecs expect the escape sequence."""

_CONTROLS = dict.fromkeys(code for code in (*range(0x20), 0x7F) if chr(code) not in "\t\r\n")
REPLACEMENT = "\ufffd"
_NO_TEXT = dict.fromkeys((*range(0x80, 0xA0), *range(0xD800, 0xE000)), REPLACEMENT)
"""C1 controls, which no writer intends (they are mislabelled Windows-1252), and halves of surrogate pairs."""

UNDECODABLE = ("text.undecodable", "replaced")
UNDECLARED = ("charset.undeclared", "read-as-latin-1")
Flaw = tuple[str, str]
"""Code and action of a finding."""


@dataclass(frozen=True, slots=True)
class Charset:
    """
    The character sets of one data set, as Python codecs, the initial one first.

    ``flaw`` is the term's own flaw; ``declared`` is false if the data set has no term; ``extended`` says that escape
    sequences may occur (PS3.5 6.1.2.4).
    """

    codecs: tuple[str, ...] = (default_encoding,)
    declared: bool = False
    flaw: Flaw | None = None
    extended: bool = False

    @classmethod
    @lru_cache(maxsize=256)
    def of(cls, value: bytes) -> Charset:
        """
        Read a value of (0008,0005).

        Misspelt terms (``ISO-IR 100``) are understood; unknown terms count as Latin-1, pydicom's default, and set a
        flaw. Terms that allow no code extension stand alone (PS3.5 6.1.2.5.4).
        """
        terms = [term.strip(" \0") for term in value.decode("latin-1").split("\\")]
        decoders = [_codec(term) for term in terms]
        if len(decoders) > 1 and not terms[0]:
            decoders[0] = _ASCII
        codecs = [
            codec or default_encoding
            for number, (term, codec) in enumerate(zip(terms, decoders, strict=True))
            if number == 0 or term not in STAND_ALONE_ENCODINGS
        ]
        if terms[0] in STAND_ALONE_ENCODINGS:
            del codecs[1:]
        flaw = None if all(decoders) else ("charset.unknown", "read-as-latin-1")
        extended = terms[0] not in STAND_ALONE_ENCODINGS and (len(codecs) > 1 or "2022" in terms[0])
        return cls(tuple(codecs), declared=any(terms), flaw=flaw, extended=extended)

    @property
    def trusted(self) -> bool:
        """Whether bytes beyond ASCII decode to the letters that were intended: the set was declared and is known."""
        return self.declared and self.flaw is None

    def decode(self, value: bytes, delimiters: bytes) -> tuple[str, Flaw | None]:
        """
        Decode a value that is not plain ASCII; each of ``delimiters`` returns to the initial character set.

        Bytes that are invalid in the declared set become U+FFFD (PS3.5 6.1.2); only text without a declared set is
        Latin-1.
        """
        initial = self.codecs[0]
        if ESCAPE not in value:
            text = _decode_bytes(value, initial)
        else:
            initial = initial if self.declared else _ASCII
            text = "".join(_decode_fragment(part, initial, delimiters) for part in _FRAGMENTS.findall(value))
        text = readable(text)
        if REPLACEMENT in text:
            return text, UNDECODABLE
        return text, None if self.declared or ESCAPE in value else UNDECLARED


DEFAULT = Charset()


def readable(text: str) -> str:
    """Replace code points that are not characters: C1 controls and lone surrogates."""
    return text.translate(_NO_TEXT)


def unescape(text: str, delimiters: bytes) -> str:
    """
    Remove escape sequences that some services leave in decoded text (PS3.5 6.1.2.5).

    The text after an escape sequence is either not yet decoded, and then ASCII, or already decoded.
    """
    return "".join(_unescape_fragment(part, delimiters) for part in _TEXT_FRAGMENTS.findall(text))


def _unescape_fragment(fragment: str, delimiters: bytes) -> str:
    if ord(fragment[0]) != ESCAPE:
        return fragment
    if fragment.isascii():
        return _decode_fragment(fragment.encode("ascii"), _ASCII, delimiters)
    start = fragment[:4].encode("ascii", "replace")
    size = 4 if start.startswith(_FOUR_BYTE_ESCAPES) else 3
    return fragment[size:] if start[:size] in _ESCAPES else REPLACEMENT + fragment[size:]


def without_controls(text: str) -> str:
    """Drop control characters other than tab, carriage return and line feed."""
    return text.translate(_CONTROLS)


def is_common(terms: Iterable[str]) -> bool:
    """Return whether all of these character sets are defined terms of the standard that every service knows."""
    return all(term.strip(" \0") in python_encoding for term in terms)


def _codec(term: str) -> str | None:
    if term not in _TERMS:
        if re.match(r"ISO[^_]IR", term):
            term = "ISO_IR" + term[6:]
        elif re.match(r"ISO.2022.IR.", term):
            term = "ISO 2022 IR " + term[12:]
        elif term.upper() in ("UTF-8", "UTF8"):
            term = "ISO_IR 192"
    return _TERMS.get(term)


def _decode_bytes(value: bytes, codec: str) -> str:
    """Decode with one codec. JIS X 0201 has no lead bytes of two-byte characters, which Python's codec would join."""
    if codec != _KATAKANA:
        return value.decode(codec, "replace")
    return REPLACEMENT.join(part.decode(codec, "replace") for part in _NOT_JIS_X_0201.split(value))


def _decode_fragment(fragment: bytes, initial: str, delimiters: bytes) -> str:
    """
    Decode one fragment; only its start can be an escape sequence, designating a character set.

    The escape sequence back to ASCII affects seven bits only: the initial set keeps the other half.
    """
    if fragment[0] != ESCAPE:
        return _decode_bytes(fragment, initial)
    size = 4 if fragment.startswith(_FOUR_BYTE_ESCAPES) else 3
    codec = _ESCAPES.get(fragment[:size])
    if codec is None:
        return REPLACEMENT + _decode_bytes(fragment[size:], initial)
    if codec in _SELF_ESCAPED:
        return fragment.decode(codec, "replace")
    if fragment[:size] == _BACK_TO_ASCII:
        codec = initial
    fragment = fragment[size:]
    end = next((place for place, byte in enumerate(fragment) if byte in delimiters), len(fragment))
    return _decode_bytes(fragment[:end], codec) + _decode_bytes(fragment[end:], initial)
