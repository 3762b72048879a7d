"""
How the Azure DICOM service treats a DICOM file: refuses it, or writes metadata as DICOM JSON, parts left out.

    required UIDs and Patient ID -> 409 | invalid top-level elements -> dropped, 202 | what cannot be read back -> 503

Bytes in, `Stored` out; `encode` spells its JSON as the service does. Tests hold it equal to what the open-source
server makes of the same files.

Source: microsoft/dicom-server at eeefbe4d74 with fo-dicom 5.1.2 (``DicomValidation``, ``DicomJsonConverter``), run.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from io import BytesIO
from math import isnan
from typing import Any

import pydicom
from pydicom.charset import python_encoding
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from local.dicom_validity import CODE, IDENTITY, PATIENT_ID, is_valid
from sync.dicom.header.text import Charset

Json = dict[str, Any]

_LEFT_OUT = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_TEXTS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_SINGLE = frozenset({"LT", "ST", "UR", "UT"})
_CODES = frozenset({"AE", "AS", "CS", "DA", "DT", "TM", "UI", "UR"})
_BINARY = {
    "US": ("H", 2),
    "SS": ("h", 2),
    "UL": ("I", 4),
    "SL": ("i", 4),
    "UV": ("Q", 8),
    "SV": ("q", 8),
    "FL": ("f", 4),
    "FD": ("d", 8),
}
_CHARACTER_SET = 0x00080005
_DEEPEST = 20
"""Levels of content beyond which the writer refuses; with as many, a page of the feed does."""
_LARGEST = Decimal("7.9228162514264337593543950335E28")
_FINEST = -28
_SCALE = Decimal("1E-28")
_INFINITE = Decimal("1.7976931348623157E308")
_LARGEST_PLAIN = 15
_JIS_X_0212 = re.compile(rb"\x1b\$\(D([^\x1b]*)")
"""Its letters become dots."""
_UID = re.compile(r"[0-9.]{1,64}")


class Refused(ValueError):
    """The service answers 409; the text says why."""


@dataclass(slots=True)
class Stored:
    """
    The stored data of an instance.

    ``metadata`` as it writes them; ``dropped`` are tags; an instance that is not ``readable`` can be stored, and then
    its metadata cannot be had; one that is not ``in_feed`` makes pages of the feed fail, and those alone.
    """

    metadata: Json
    dropped: set[str] = field(default_factory=set)
    readable: bool = True
    in_feed: bool = True
    warned: bool = False

    @property
    def status(self) -> int:
        """Of the answer to who stored it."""
        return 202 if self.warned else 200


class Spelled(float):
    """A number that is written as it was read."""

    text: str

    @classmethod
    def of(cls, text: str) -> Spelled:
        """Keep the spelling of a number."""
        number = cls(text)
        number.text = text
        return number

    def __repr__(self) -> str:
        return self.text


def stored(content: bytes) -> Stored:
    """
    Return the metadata that the service keeps of a DICOM file.

    Raises
    ------
    Refused
        It takes no such file.
    """
    try:
        file = pydicom.dcmread(BytesIO(content), force=True)
        reader = _Reader()
        dataset = reader.dataset(file, Charset.of(b""), level=0)
        behind = _behind_meta(file.file_meta)
        dataset = reader.dataset(behind, Charset.of(b""), level=0) | dataset
    except (Refused, RecursionError):
        raise
    except Exception as problem:  # noqa: BLE001 -- what pydicom raises for a broken file is in no list
        raise Refused(f"cannot be read: {type(problem).__name__}") from None
    _require(dataset)
    dropped = {tag for tag in reader.invalid if tag in dataset}
    for tag in dropped:
        del dataset[tag]
    result = Stored(dataset, dropped, readable=reader.readable, in_feed=reader.deepest < _DEEPEST)
    result.warned = result.readable and (bool(reader.invalid) or bool(file.original_encoding[0]))
    if reader.deepest > _DEEPEST:
        raise Refused("nested too deeply")
    return result


def _behind_meta(meta: Dataset) -> Dataset:
    """Return the elements that the service reads as data set: meta information from the first tag that descends."""
    behind, before = Dataset(), 0
    for tag in meta.keys():  # noqa: SIM118 -- in the order of the file
        if behind or int(tag) < before:
            behind[tag] = meta.get_item(tag)
        before = int(tag)
    return behind


def encode(datasets: Iterable[Mapping[str, Any]]) -> bytes:
    """Return the JSON of data sets as the service spells it: no blanks, and no characters that HTML would mind."""
    text = "[" + ",".join(_json(dataset) for dataset in datasets) + "]"
    return text.encode("ascii")


def _json(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_json(key)}:{_json(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_json, value)) + "]"
    if isinstance(value, Spelled):
        return value.text
    if isinstance(value, str):
        written = json.dumps(value)
        if _TIMESTAMP.fullmatch(value):
            return written
        return _ESCAPED.sub(_escaped, written) if _ESCAPED.search(written) else written
    return json.dumps(value)


_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+\+\d\d:\d\d")
_ESCAPED = re.compile(r"""\\\\|\\u[0-9a-f]{4}|\\"|[<>&'+`\x7f]""")


def _escaped(match: re.Match[str]) -> str:
    text = match.group()
    if text == r"\\":  # matched as a whole, or its second half would escape what follows
        return text
    if text.startswith("\\u"):
        return "\\u" + text[2:].upper()
    return f"\\u{ord(text[-1]):04X}"


def _require(dataset: Mapping[str, Any]) -> None:
    """Refuse a file that lacks an identity (``DicomDatasetValidator`` of the server)."""
    for tag in IDENTITY:
        values = dataset.get(f"{tag:08X}", {}).get("Value") or []
        if len(values) != 1 or not values[0]:
            raise Refused(f"the required tag {tag:08X} is missing, or has no single value")
        if not _UID.fullmatch(values[0].rstrip(" ")) or values[0].endswith("."):
            raise Refused(f"{tag:08X}: UID is invalid")
    patient = dataset.get(f"{PATIENT_ID:08X}")
    if patient is None:
        raise Refused("the required tag 00100020 is missing")
    longest_id = 64
    if len("\\".join(value or "" for value in patient.get("Value", []))) > longest_id:
        raise Refused("PatientID exceeds 64 characters")


@dataclass(slots=True)
class _Reader:
    """Reads data sets; ``invalid`` fills up with the tags of invalid elements, at any level."""

    invalid: set[str] = field(default_factory=set)
    readable: bool = True
    deepest: int = 0

    def dataset(self, source: Dataset, charset: Charset, *, level: int) -> Json:
        self.deepest = max(self.deepest, level)
        if _CHARACTER_SET in source and (declared := _bytes_of(source.get_item(_CHARACTER_SET)).strip(b" \0")):
            charset = _charset(declared)
        elements: Json = {}
        for tag in sorted(source.keys()):
            element = self.element(source, tag, charset, level)
            if element is not None:
                elements[f"{int(tag):08X}"] = element
        return elements

    def element(self, source: Dataset, tag: BaseTag, charset: Charset, level: int) -> Json | None:
        if tag.element == 0:
            return None
        raw = source.get_item(tag)
        vr = _vr(tag, raw, source)
        if vr in _LEFT_OUT:
            return None
        if vr == "SQ":
            items = source[tag].value
            read = [self.dataset(item, charset, level=level + 1) for item in items]
            return {"vr": "SQ", "Value": read} if read else {"vr": "SQ"}
        content = _bytes_of(raw)
        big = isinstance(raw, RawDataElement) and not raw.is_little_endian
        values = _values(vr, content, charset, big=big)
        if not is_valid(vr, tag, values, content):
            self.invalid.add(f"{int(tag):08X}")
        return self.written(vr, values, level)

    def written(self, vr: str, values: list[Any], level: int) -> Json:
        if not values:
            return {"vr": vr, "Value": [None]} if vr in _SINGLE - {"UR"} else {"vr": vr}
        if vr == "DS":
            values = [self.decimal(value, level) for value in values]
        elif vr == "IS":
            values = [_whole(value) for value in values]
        elif vr == "PN":
            values = [_name(value) for value in values]
        elif vr in ("FL", "FD"):
            values = [_float(value, vr) for value in values]
        elif vr == "UC" and len(values) > 1:
            self.readable = False
        return {"vr": vr, "Value": [None if value == "" else value for value in values]}

    def decimal(self, text: str, level: int) -> Any:
        if not text:
            return None
        try:
            number = Decimal(text)
        except InvalidOperation:
            return text
        if number.is_nan():
            self.readable = self.readable and level == 0
            return text
        if abs(number) > _INFINITE:
            raise Refused("a number that JSON has not")
        if abs(number) > _LARGEST:
            self.readable = False
            return Spelled.of(str(number))
        return Spelled.of(_decimal(number, text, level))


def _decimal(number: Decimal, text: str, level: int) -> str:
    longest = 16
    if len(text) > longest and level:
        number = Decimal(f"{number:.11g}")
    exponent = number.as_tuple().exponent
    if isinstance(exponent, int) and exponent < _FINEST:
        number = number.quantize(_SCALE).normalize()
    return f"{number or abs(number):f}"


def _bytes_of(element: Any) -> bytes:
    """Return the bytes of an element; pydicom has read those already that others depend on."""
    value = element.value
    if isinstance(element, RawDataElement):
        return value or b""
    if isinstance(value, int):
        return struct.pack("<H", value)
    values = [value] if isinstance(value, str) else list(value or ())
    return "\\".join(map(str, values)).encode("latin-1", "replace")


def _charset(value: bytes) -> Charset:
    """Return the character sets; unknown and misspelt ones are none, so that letters beyond ASCII are lost."""
    terms = [term.strip(" \0").replace("ISO-IR", "ISO_IR") for term in value.decode("latin-1").split("\\")]
    supported = all(term in python_encoding and term not in ("ISO_IR 6", "ISO 2022 IR 6") for term in terms)
    valid = all(not term or CODE.fullmatch(term) for term in terms)
    return Charset.of(value) if supported and valid and any(terms) else Charset.of(b"")


def _vr(tag: BaseTag, raw: Any, source: Dataset) -> str:
    vr = str(raw.VR) if raw.VR else "UN"
    if vr in ("UN", "  ", "None"):
        try:
            vr = dictionary_VR(tag)
        except KeyError:
            if tag.is_private:
                return _private_vr(tag, source)
            return "UN"
    return {"US or SS": "US", "OB or OW": "OW", "US or OW": "OW", "US or SS or OW": "OW"}.get(vr, vr)


def _private_vr(tag: BaseTag, source: Dataset) -> str:
    return "LO" if tag.is_private_creator else str(getattr(source.get(tag), "VR", "UN"))


def _values(vr: str, raw: bytes, charset: Charset, *, big: bool) -> list[Any]:
    if vr == "AT":
        size = 4
        pairs = [struct.unpack_from(">HH" if big else "<HH", raw, at) for at in range(0, len(raw) - 3, size)]
        # of big-endian data sets it takes the halves the other way round
        return [f"{pair[big]:04X}{pair[not big]:04X}" for pair in pairs]
    if vr in _BINARY:
        form, size = _BINARY[vr]
        return [
            struct.unpack_from((">" if big else "<") + form, raw, at)[0] for at in range(0, len(raw) - size + 1, size)
        ]
    text = _text(vr, raw, charset)
    if vr in _SINGLE:
        text = text.rstrip(" ")
        return [text] if text else []
    text = text.rstrip("\0") if vr == "UI" else text.rstrip(" ")
    parts = text.split("\\")
    if vr not in _CODES:
        parts = [part.strip(" ") if vr != "PN" else part.rstrip(" ") for part in parts]
    return parts if any(parts) or len(parts) > 1 else []


def _text(vr: str, raw: bytes, charset: Charset) -> str:
    if raw.isascii() and (b"\x1b" not in raw or vr not in _TEXTS or len(charset.codecs) == 1):
        return raw.decode("ascii")
    if vr not in _TEXTS or not charset.declared:
        return raw.decode("ascii", "replace").replace("\ufffd", "?")
    if len(charset.codecs) == 1:  # without code extensions escape sequences are text
        return raw.decode(charset.codecs[0], "replace")
    raw = _JIS_X_0212.sub(lambda match: b"\x1b$B" + b"!&" * (len(match[1]) // 2), raw)
    return charset.decode(raw, b"\\\r\n\t\f" + (b"^=" if vr == "PN" else b""))[0]


def _name(text: str) -> Any:
    if not text:
        return None
    groups = text.split("=")
    names = ("Alphabetic", "Ideographic", "Phonetic")
    if len(groups) > len(names):
        raise Refused("a name with four groups")
    return {name: group for name, group in zip(names, groups, strict=False) if group.strip()} or None


def _whole(text: str) -> Any:
    try:
        return int(text) if text else None
    except ValueError:
        return text


def _float(value: float, vr: str) -> Any:
    if isnan(value):
        if vr == "FD":
            raise Refused("a number that JSON has not")
        return "NaN"
    if value in (float("inf"), float("-inf")):
        raise Refused("a number that JSON has not")
    return Spelled.of(_shortest(value, vr))


def _shortest(value: float, vr: str) -> str:
    """Return the shortest text that reads as the value, in the way of .NET: exponents have two digits at least."""
    text = repr(value)
    if vr == "FL":
        texts: Iterator[str] = (f"{value:.{digits}g}" for digits in range(1, 10))
        text = next(text for text in texts if struct.pack("<f", float(text)) == struct.pack("<f", value))
    mantissa, _, power = text.partition("e")
    if not power:
        return mantissa.removesuffix(".0")
    return _with_exponent(mantissa.removesuffix(".0"), int(power), largest=_LARGEST_PLAIN)


def _with_exponent(mantissa: str, power: int, *, largest: int) -> str:
    smallest = -5
    if smallest <= power < largest:
        return f"{Decimal(f'{mantissa}E{power}'):f}"
    return f"{mantissa}E{'-' if power < 0 else '+'}{abs(power):02d}"
