"""
Character sets (PS3.5 6.1, PS3.3 C.12.1.1.2): bytes and (0008,0005) in, text out, never a failure.

The terms and escape sequences are pydicom's tables. The decoding is our own, because pydicom reports what it could not
decode by warnings only, and because undecodable text must leave a finding.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from pydicom.charset import CODES_TO_ENCODINGS, STAND_ALONE_ENCODINGS, default_encoding, python_encoding

ESCAPE = 0x1B
_FRAGMENTS = re.compile(rb"^[^\x1b]+|\x1b[^\x1b]*")
_FOUR_BYTE_ESCAPES = (b"\x1b$(", b"\x1b$)")
_SELF_ESCAPED = frozenset({"iso2022_jp", "iso2022_jp_2"})
"""Python's codecs of these want the escape sequence."""

_CONTROLS = dict.fromkeys(code for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\r\n")

UNDECODABLE = ("text.undecodable", "replaced")
UNDECLARED = ("charset.undeclared", "read-as-latin-1")
Flaw = tuple[str, str]
"""Code and action of a finding."""


@dataclass(frozen=True, slots=True)
class Charset:
    """
    The character sets of one data set, as Python codecs, the initial one first.

    ``flaw`` is what the term itself suffers from; ``declared`` is false when there was none.
    """

    codecs: tuple[str, ...] = (default_encoding,)
    declared: bool = False
    flaw: Flaw | None = None

    @classmethod
    @lru_cache(maxsize=256)
    def of(cls, value: bytes) -> Charset:
        """
        Read a value of (0008,0005).

        Misspelt terms (``ISO-IR 100``) are understood; unknown ones count as Latin-1, the default of pydicom, and make
        a flaw. Terms that allow no code extension stand alone (PS3.5 6.1.2.5.4).
        """
        terms = [term.strip(" \0") for term in value.decode("latin-1").split("\\")]
        known = [_codec(term) for term in terms]
        codecs = [
            codec or default_encoding
            for number, (term, codec) in enumerate(zip(terms, known, strict=True))
            if number == 0 or term not in STAND_ALONE_ENCODINGS
        ]
        if terms[0] in STAND_ALONE_ENCODINGS:
            del codecs[1:]
        flaw = None if all(known) else ("charset.unknown", "read-as-latin-1")
        return cls(tuple(codecs), declared=any(terms), flaw=flaw)

    def decode(self, value: bytes, delimiters: bytes) -> tuple[str, Flaw | None]:
        """Decode a value that is not plain ASCII; each of ``delimiters`` returns to the initial character set."""
        initial = self.codecs[0]
        if ESCAPE not in value:
            text = value.decode(initial, "replace")
        else:
            text = "".join(_decode_fragment(part, initial, delimiters) for part in _FRAGMENTS.findall(value))
        if "\ufffd" in text:
            return text, UNDECODABLE
        return text, None if self.declared or ESCAPE in value else UNDECLARED


DEFAULT = Charset()


def without_controls(text: str) -> str:
    """Drop control characters other than tab, carriage return and line feed."""
    return text.translate(_CONTROLS)


def _codec(term: str) -> str | None:
    if term not in python_encoding:
        if re.match(r"ISO[^_]IR", term):
            term = "ISO_IR" + term[6:]
        elif re.match(r"ISO.2022.IR.", term):
            term = "ISO 2022 IR " + term[12:]
        elif term.upper() in ("UTF-8", "UTF8"):
            term = "ISO_IR 192"
    return python_encoding.get(term)


def _decode_fragment(fragment: bytes, initial: str, delimiters: bytes) -> str:
    """Decode one fragment; only its start can be an escape sequence, designating a character set."""
    if fragment[0] != ESCAPE:
        return fragment.decode(initial, "replace")
    size = 4 if fragment.startswith(_FOUR_BYTE_ESCAPES) else 3
    codec = CODES_TO_ENCODINGS.get(fragment[:size])
    if codec is None:
        return "\ufffd" + fragment[size:].decode(initial, "replace")
    if codec in _SELF_ESCAPED:
        return fragment.decode(codec, "replace")
    fragment = fragment[size:]
    end = next((place for place, byte in enumerate(fragment) if byte in delimiters), len(fragment))
    return fragment[:end].decode(codec, "replace") + fragment[end:].decode(initial, "replace")
