"""
Person names: VR PN (PS3.5 6.2.1) -> FHIR HumanName and its printable form.

A PN holds up to three groups that spell the same name (alphabetic, ideographic, phonetic), each of five components.
Every group becomes its own HumanName; the extension EN-representation says which spelling it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from sync.mapping.values import Findings, filled, text
from sync.model import Resource

EN_REPRESENTATION = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"

_REPRESENTATIONS = ("ABC", "IDE", "SYL")
"""PS3.5 6.2.1.1: order of the component groups."""

_COMPONENTS = 5
_FAMILY, _GIVEN, _MIDDLE, _PREFIX, _SUFFIX = range(_COMPONENTS)


def human_names(raw: str | None, keyword: str, findings: Findings) -> list[Resource]:
    """
    Return one HumanName for each group that is not empty.

    Parameters
    ----------
    raw
        The PN value with its ``^`` and ``=``. A value of delimiters only gives no name.

    Returns
    -------
    list of dict
        0..3 names. The representation is left out when there is only an alphabetic group. Source: R4
        ``Patient.name``.
    """
    groups = _groups(raw or "", keyword, findings)
    spelled_out = [index for index, parts in enumerate(groups) if any(parts)]
    plain = spelled_out == [0]
    return [_human_name(groups[index], None if plain else _REPRESENTATIONS[index]) for index in spelled_out]


def printable_name(raw: str | None, keyword: str, findings: Findings) -> str | None:
    """Return the first group that is not empty, in natural order as on an envelope; None for an empty name."""
    names = human_names(raw, keyword, findings)
    return str(names[0]["text"]) if names else None


def _groups(raw: str, keyword: str, findings: Findings) -> list[list[str]]:
    groups = raw.split("=")
    if any(group.strip("^ \x00") for group in groups[len(_REPRESENTATIONS) :]):
        findings.note(keyword, "name.extra_group", "omitted")
    return [_components(group, keyword, findings) for group in groups[: len(_REPRESENTATIONS)]]


def _components(group: str, keyword: str, findings: Findings) -> list[str]:
    parts = [text(part, keyword, findings) or "" for part in group.split("^")]
    if any(parts[_COMPONENTS:]):
        findings.note(keyword, "name.extra_component", "omitted")
    return (parts + [""] * _COMPONENTS)[:_COMPONENTS]


def _human_name(parts: Sequence[str], representation: str | None) -> Resource:
    family, given, middle, prefix, suffix = parts
    written = parts if representation in ("IDE", "SYL") else (prefix, given, middle, family, suffix)
    return filled(
        {
            "extension": [{"url": EN_REPRESENTATION, "valueCode": representation}] if representation else None,
            "use": "usual",
            "text": " ".join(part for part in written if part),
            "family": family or None,
            "given": [*given.split(), *middle.split()],
            "prefix": [prefix] if prefix else None,
            "suffix": [suffix] if suffix else None,
        }
    )
