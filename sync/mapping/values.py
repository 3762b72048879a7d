"""
DICOM values -> FHIR primitives, or a `Finding` and no value.

In: values as in the file (text, decoded, perhaps with blanks, control characters or nonsense). Out: strings, codes,
numbers and URIs that satisfy FHIR R4's rules for their datatypes (R4 *Data Types*), whatever the input. No function
raises because of a value, and no finding ever holds one. Dates are in `sync.mapping.timestamps`, person names in
`sync.mapping.names`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Any

from sync.config import SYSTEM_SCHEMES, MappingSettings
from sync.dicom.attributes import texts
from sync.mapping.terminology import CODING_SCHEMES, UCUM, UNVERSIONED_SCHEMES, URI_SYSTEM
from sync.mapping.units import is_ucum
from sync.model import Attributes, Finding, Resource

MAX_TEXT_BYTES = 1024 * 1024
"""R4 *string*: "SHALL NOT exceed 1MB in size"."""

REPLACEMENT = "\ufffd"
"""Stands for bytes that could not be decoded."""

MAX_INTEGER = 2**31 - 1
"""R4 *unsignedInt*: 31 bits."""

_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
"""Controls except tab, CR and LF; bidirectional overrides, which change how text is displayed; lone surrogates."""

_EDGES = re.compile("^[\\s\u200b\u2060\ufeff]+|[\\s\u200b\u2060\ufeff]+$")
_NUMBER = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{0,40})?([eE][+-]?[0-9]{1,4})?")
_UID = re.compile(r"[A-Za-z0-9.-]{1,64}")
_STRICT_UID = re.compile(r"(?=.{1,64}$)(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")
_OID_URN = re.compile(r"urn:oid:[0-2](?=.{3,}\.)(\.(0|[1-9][0-9]*))+")
_UUID_URN = re.compile(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DECIMAL = re.compile(r"[+-]?([0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})([eE][+-]?[0-9]{1,3})?")
_LARGEST = 10**15
"""Above it, and below its inverse, servers do not return numbers as they were sent."""
_PLACES = 28
"""Decimal places that .NET keeps: servers built on it return no more."""
_ABSOLUTE_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!#$%&'()*+,\-./0-9:;=?@A-Z\[\]_a-z~]+")


class Findings:
    """Collects findings about values that could not be used unchanged; equal findings count once."""

    def __init__(self) -> None:
        self._findings: set[Finding] = set()

    def note(self, keyword: str, code: str, action: str) -> None:
        """Add a finding; ``action`` says how the value was handled."""
        self._findings.add(Finding(keyword=keyword, code=code, action=action))

    def extend(self, findings: Iterable[Finding]) -> None:
        """Add several."""
        self._findings.update(findings)

    def all(self) -> tuple[Finding, ...]:
        """Return all findings, each once, in an order that depends only on them."""
        return tuple(sorted(self._findings, key=lambda f: (f.keyword, f.code, f.action)))


def filled(resource: Resource) -> Resource:
    """Leave out elements without a value; FHIR knows neither null nor empty lists and objects."""
    return {k: v for k, v in resource.items() if v is not None and v not in ([], {})}


def clean(raw: str) -> str:
    """Return text without control characters and without surrounding blanks; may be empty."""
    if raw.isprintable():
        return raw.strip()
    return _EDGES.sub("", _UNPRINTABLE.sub("", raw))


def text(raw: str | None, keyword: str, findings: Findings) -> str | None:
    """
    Return the FHIR *string* of a text, without control characters.

    Returns
    -------
    str or None
        None when nothing readable is left. Text beyond 1 MB is cut.
    """
    if not raw:
        return None
    cleaned = clean(raw)
    if not raw.isprintable() and _UNPRINTABLE.search(raw.rstrip("\x00 ")):
        findings.note(keyword, "text.control_characters", "removed")
    if len(cleaned) * 4 > MAX_TEXT_BYTES:
        cleaned = _cut(cleaned, keyword, findings)
    return cleaned or None


def _cut(cleaned: str, keyword: str, findings: Findings) -> str:
    encoded = cleaned.encode()
    if len(encoded) <= MAX_TEXT_BYTES:
        return cleaned
    findings.note(keyword, "text.too_long", "cut")
    return clean(encoded[:MAX_TEXT_BYTES].decode("utf-8", "ignore"))


def code(raw: str | None, keyword: str, findings: Findings) -> str | None:
    """Return the FHIR *code* of a text: as `text`, and with only single spaces inside."""
    value = text(raw, keyword, findings)
    return " ".join(value.split()) if value else None


def one_text(attributes: Attributes, keyword: str, findings: Findings) -> str | None:
    """Return the first non-empty value of an attribute as FHIR *string*; more than one is a finding."""
    return text(first(attributes, keyword, findings), keyword, findings)


def first(attributes: Attributes, keyword: str, findings: Findings) -> str | None:
    """Return the first non-empty value of an attribute, unchanged; more than one is a finding."""
    if keyword not in attributes:
        return None
    values = texts(attributes, keyword)
    if len(values) > 1:
        findings.note(keyword, "value.multiple", "first value used")
    return values[0] if values else None


def number(attributes: Attributes, keyword: str, findings: Findings) -> int | None:
    """
    Return the FHIR *unsignedInt* of an attribute with VR IS.

    ``1.0`` and ``1E1`` are whole numbers too. Negative, broken, fractional or too large values are findings; there is
    no default. Source: R4 ``ImagingStudy.series.number``.
    """
    values = attributes.get(keyword)
    if not values:
        return None
    value = values[0]
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < len(str(MAX_INTEGER)):
        whole: int | None = int(value)
    else:
        whole = _whole(value)
        if whole is None:
            if str(value).strip(" \x00"):
                findings.note(keyword, "number.invalid", "omitted")
            return None
    if len(values) > 1:
        findings.note(keyword, "value.multiple", "first value used")
    return whole


def _whole(value: Any) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value if 0 <= value <= MAX_INTEGER else None
    shown = str(value).strip(" \x00\t\r\n")
    if not _NUMBER.fullmatch(shown):
        return None
    try:
        exact = Decimal(shown)
        # compared before int(): a large exponent would otherwise be written out digit by digit
        fits = 0 <= exact <= MAX_INTEGER and exact == exact.to_integral_value()
    except InvalidOperation:
        return None
    return int(exact) if fits else None


def decimal(stated: str, factor: int = 0) -> int | float | None:
    """
    Return the FHIR *decimal* of a DS or FD value, times ten to the ``factor``; None if servers do not keep it.

    Whole numbers become integers, however they are spelled: servers do not keep the difference.
    """
    if not _DECIMAL.fullmatch(stated.strip()):
        return None
    try:
        exact = Decimal(stated.strip()).scaleb(factor)
    except InvalidOperation:
        return None
    if exact and not 1 / Decimal(_LARGEST) <= abs(exact) < _LARGEST:
        return None
    rounded = round(exact, _PLACES) if abs(exact) < 1 else exact
    return int(rounded) if rounded == rounded.to_integral_value() else float(rounded)


def ucum_quantity(
    stated: str, keyword: str, unit: str, ucum: str, findings: Findings, *, factor: int = 0
) -> Resource | None:
    """
    Return the FHIR *Quantity* of a DS or FD value, times ten to the ``factor``; None, with a finding, like `decimal`.

    Parameters
    ----------
    unit
        The human-readable unit.
    ucum
        The unit's code in UCUM.
    """
    value = decimal(stated, factor)
    if value is None:
        findings.note(keyword, "measurement.invalid", "left out")
        return None
    return {"value": value, "unit": unit, "system": UCUM, "code": ucum}


def uid(raw: str | None) -> str | None:
    """
    Return a DICOM UID that fits FHIR *id*, without padding; None when it does not.

    It is never repaired: ``1.2.03.4`` stays as it is (see `is_strict_uid`).
    """
    value = (raw or "").strip(" \x00")
    return value if _UID.fullmatch(value) else None


def is_strict_uid(value: str) -> bool:
    """Return whether a UID follows PS3.5 9.1: digits, no leading zeros, 64 characters at most."""
    return bool(_STRICT_UID.fullmatch(value))


def absolute_uri(raw: str | None) -> str | None:
    """Return the value if it is an absolute URI of characters that RFC 3986 allows, else None."""
    value = clean(raw or "")
    return value if _ABSOLUTE_URI.fullmatch(value) else None


def system_uri(raw: str | None) -> str | None:
    """
    Return the value if it can be the system of an identifier or a code, else None.

    Validators require more than RFC 3986: http, https or urn; among URNs, OIDs in canonical form that name more than a
    registration authority (``1.2.3``), and UUIDs in lower case.
    """
    value = absolute_uri(raw)
    if value is None or not value.startswith(SYSTEM_SCHEMES):
        return None
    if value.startswith("urn:oid:") and not _OID_URN.fullmatch(value):
        return None
    return value if not value.startswith("urn:uuid:") or _UUID_URN.fullmatch(value) else None


def coding(item: Attributes, keyword: str, settings: MappingSettings, findings: Findings) -> Resource | None:
    """
    Return the FHIR *Coding* of one item of a code sequence (PS3.3 Table 8.8-1).

    Parameters
    ----------
    keyword
        Keyword of the sequence, for findings.

    Returns
    -------
    dict or None
        None if the item has neither code nor meaning. An unknown designator gives a code without system; the designator
        itself is never written.
    """
    display = one_text(item, "CodeMeaning", findings)
    value, is_urn = _code_value(item, keyword, findings)
    if value is None:
        return {"display": display} if display else None
    designator = one_text(item, "CodingSchemeDesignator", findings) or ""
    system = URI_SYSTEM if is_urn else settings.coding_schemes.get(designator) or CODING_SCHEMES.get(designator)
    if system is None:
        findings.note(keyword, "coding.unknown_scheme", "code without system")
    elif system == UCUM and not is_ucum(value):
        system = None
        findings.note(keyword, "coding.unknown_unit", "code without system")
    version = None if designator in UNVERSIONED_SCHEMES else one_text(item, "CodingSchemeVersion", findings)
    return filled({"system": system, "version": version, "code": value, "display": display})


def _code_value(item: Attributes, keyword: str, findings: Findings) -> tuple[str | None, bool]:
    """Return (0008,0100), else (0008,0119), else (0008,0120), and whether it is the last one, which must be a URI."""
    value = first(item, "CodeValue", findings) or first(item, "LongCodeValue", findings)
    if value is not None:
        return code(value, keyword, findings), False
    stated = first(item, "URNCodeValue", findings)
    urn = absolute_uri(stated)
    if stated is not None and urn is None:
        findings.note(keyword, "coding.no_uri", "code left out")
    return urn, True
