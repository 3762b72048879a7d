"""
Content items of a report (PS3.3 C.17.3): their names, their values, their children.

An item is `sync.model.Attributes`, as the header reader returns it. No function assumes that an item has the attributes
that its value type requires.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal

from sync.dicom.attributes import first_text, items
from sync.mapping import codes
from sync.mapping.identifiers import first_item
from sync.mapping.names import printable_name
from sync.mapping.source import Source
from sync.mapping.terminology import DCM, UCUM
from sync.mapping.timestamps import Keywords, fhir_datetime
from sync.mapping.units import ucum_of
from sync.mapping.values import REPLACEMENT, clean, decimal, filled, one_text, text
from sync.model import Attributes, Resource

Concept = frozenset[str]
"""Codes of one concept, each as ``DESIGNATOR:code``."""

_RETIRED = {"SNM3": "SRT", "99SDM": "SRT"}
_DT = re.compile(r"([0-9]{4,8})([0-9]{2,6}(?:\.[0-9]{1,6})?)?([+-][0-9]{4})?")
_KEYWORDS = Keywords(date="DateTime", time="Time")


def concept(*keys: str) -> Concept:
    """Return a concept by its codes, including SNOMED RT's, which older reports use."""
    return frozenset(keys)


def children(item: Attributes) -> tuple[Attributes, ...]:
    """Return the items that an item contains, in the order of the file."""
    return items(item, "ContentSequence")


def descendants(item: Attributes, depth: int = 0) -> Iterator[tuple[int, Attributes]]:
    """Iterate over all items below an item, each with its depth, parents first."""
    for child in children(item):
        yield depth, child
        yield from descendants(child, depth + 1)


def kind(item: Attributes) -> str:
    """Return (0040,A040) Value Type."""
    return (first_text(item, "ValueType") or "").strip().upper()


def relation(item: Attributes) -> str:
    """Return (0040,A010) Relationship Type of an item to the item that contains it."""
    return (first_text(item, "RelationshipType") or "").strip().upper()


def is_named(item: Attributes, *names: Concept) -> bool:
    """Return whether the item's concept name is one of the given concepts."""
    key = code_key(first_item(item, "ConceptNameCodeSequence"))
    return any(key in name for name in names)


def named(holder: Attributes, name: Concept) -> list[Attributes]:
    """Return the items with that concept name, among those that an item contains."""
    return [item for item in children(holder) if is_named(item, name)]


def code_key(item: Attributes) -> str:
    """Return ``DESIGNATOR:code`` of a coded entry; for an empty entry, a key that no concept has."""
    designator = (first_text(item, "CodingSchemeDesignator") or "").strip()
    value = first_text(item, "CodeValue") or first_text(item, "LongCodeValue") or ""
    return f"{_RETIRED.get(designator, designator)}:{value.strip()}"


def value_key(item: Attributes) -> str:
    """Return the `code_key` of an item's coded value."""
    return code_key(first_item(item, "ConceptCodeSequence"))


def name_of(item: Attributes, source: Source) -> Resource | None:
    """Return the CodeableConcept of an item's concept name; None if it has none."""
    return codeable(first_item(item, "ConceptNameCodeSequence"), "ConceptNameCodeSequence", source)


def coded_value(item: Attributes, source: Source) -> Resource | None:
    """Return the CodeableConcept of an item's coded value; None if it has none."""
    return codeable(first_item(item, "ConceptCodeSequence"), "ConceptCodeSequence", source)


def codeable(entry: Attributes, keyword: str, source: Source) -> Resource | None:
    """
    Return the CodeableConcept of a coded entry.

    Devices spell the meanings of DICOM's own codes in many ways, which validators refuse as the code's display, so for
    these codes the meaning is only the text.
    """
    stated = codes.concept(entry, keyword, source.settings, source.findings)
    if stated is None:
        return None
    codings = [
        {k: v for k, v in coding.items() if k not in ("display", "version")} if coding.get("system") == DCM else coding
        for coding in stated.get("coding", ())
    ]
    return filled({"coding": codings, "text": stated.get("text")})


def meaning(codeable_concept: Resource | None) -> str | None:
    """Return the human-readable text of a CodeableConcept."""
    if codeable_concept is None:
        return None
    codes = [str(coding["code"]) for coding in codeable_concept.get("coding", ())]
    return codeable_concept.get("text") or next(iter(codes), None)


def texts_of(holder: Attributes, name: Concept, source: Source) -> list[str]:
    """Return the texts, names and UIDs of the items with that concept name."""
    texts = [plain_value(item, source) for item in named(holder, name)]
    return [text for text in texts if text]


def exact_texts_of(holder: Attributes, name: Concept, source: Source) -> list[str]:
    """
    Return the texts of the items with that concept name, if they are unaltered.

    An identifying text must not have lost a character: two names that differ only in this character would be equal.
    """
    dropped = any(
        finding.keyword == "TextValue" and finding.code == "text.control" for finding in source.record.findings
    )
    stated = [first_text(item, "TextValue") or "" for item in named(holder, name)]
    return [text for text in map(_exact, () if dropped else stated) if text]


def _exact(stated: str) -> str:
    shown = clean(stated)
    return shown if shown == stated.strip() and REPLACEMENT not in shown else ""


def plain_value(item: Attributes, source: Source) -> str | None:
    """Return the value of an item without number or code, as text."""
    if "PersonName" in item:
        return printable_name(first_text(item, "PersonName"), "PersonName", source.findings)
    for keyword in ("TextValue", "UID", "DateTime", "Date", "Time"):
        if keyword in item:
            return text(first_text(item, keyword), keyword, source.findings)
    return None


def shown(measured: Resource) -> str:
    """Return a Quantity as readable text, small numbers written out."""
    number, unit = measured["value"], measured.get("unit", "")
    written = str(number) if isinstance(number, int) else format(Decimal(repr(number)), "f")
    return written if unit in ("", "1") else f"{written} {unit}"


def quantity(item: Attributes, source: Source) -> Resource | None:
    """
    Return the FHIR *Quantity* of a NUM item.

    Returns
    -------
    dict or None
        None, with a finding, if there is no value or it is not a number. A unit that UCUM does not have is written
        without a code. Source: PS3.3 Table C.18.1-1; R4 ``Quantity``.
    """
    measured = first_item(item, "MeasuredValueSequence")
    stated = first_text(measured, "NumericValue")
    if stated is None:
        source.findings.note("MeasuredValueSequence", "measurement.empty", "left out")
        return None
    number = decimal(stated)
    if number is None:
        source.findings.note("NumericValue", "measurement.invalid", "left out")
        return None
    return filled({"value": number, **_unit(first_item(measured, "MeasurementUnitsCodeSequence"), source)})


def _unit(entry: Attributes, source: Source) -> Resource:
    stated = one_text(entry, "CodeValue", source.findings) or ""
    label = one_text(entry, "CodeMeaning", source.findings) or stated
    if not label:
        source.findings.note("MeasurementUnitsCodeSequence", "unit.missing", "number without unit")
        return {}
    code = ucum_of(stated or label)
    if code is None:
        source.findings.note("MeasurementUnitsCodeSequence", "unit.unknown", "shown without code")
        return {"unit": label}
    return {"unit": code, "system": UCUM, "code": code}


def timestamp(raw: str | None, source: Source) -> str | None:
    """
    Return the FHIR *dateTime* of a DT value (PS3.5 6.2); its own offset takes precedence over (0008,0201).

    None without a value, and, with a finding, if the value is not a DT.
    """
    stated = (raw or "").strip(" \x00")
    if not stated:
        return None
    match = _DT.fullmatch(stated)
    if match is None:
        source.findings.note("DateTime", "date.invalid", "omitted")
        return None
    day, clock, offset = match.groups()
    attributes = {
        "DateTime": [day],
        "Time": [clock] if clock else [],
        "TimezoneOffsetFromUTC": [offset] if offset else source.attributes.get("TimezoneOffsetFromUTC", []),
    }
    return fhir_datetime(attributes, _KEYWORDS, source.settings.timezone, source.findings)


def timestamps(holders: Iterable[Attributes], source: Source) -> list[str]:
    """Return the usable times of DATETIME items."""
    stamps = [timestamp(first_text(item, "DateTime"), source) for item in holders]
    return [stamp for stamp in stamps if stamp]
