"""
Codes: items of code sequences (PS3.3 Table 8.8-1) -> FHIR *CodeableConcept*, or the single best *Coding*.

An item may carry the same concept in several schemes (0008,0121), and codes of the retired SNOMED RT are also written
in SNOMED CT. `sync.mapping.values.coding` makes each single Coding.
"""

from __future__ import annotations

from collections.abc import Sequence

from sync.config import MappingSettings
from sync.dicom.attributes import items
from sync.mapping.standards import snomed_ct_of_rt
from sync.mapping.terminology import CODING_SCHEMES, SNOMED_CT, SNOMED_RT
from sync.mapping.values import Findings, coding, filled, one_text, system_uri
from sync.model import Attributes, Resource


def codings(item: Attributes, keyword: str, settings: MappingSettings, findings: Findings) -> list[Resource]:
    """
    Return every coding of one item, each once: its own, the SNOMED CT translation, and the equivalent codes.

    ``keyword`` names the sequence in findings. An item without a code has no coding.
    """
    distinct: dict[tuple[str | None, str], Resource] = {}
    for holder in (item, *items(item, "EquivalentCodeSequence")):
        stated = coding(holder, keyword, settings, findings)
        if stated and "code" in stated:
            for coded in (stated, *_in_snomed_ct(stated)):
                distinct.setdefault((coded.get("system"), coded["code"]), coded)
    return list(distinct.values())


def _in_snomed_ct(stated: Resource) -> list[Resource]:
    """Translate SNOMED RT; PS3.16 has retired it."""
    translated = snomed_ct_of_rt().get(stated["code"]) if stated.get("system") == SNOMED_RT else None
    return [filled({"system": SNOMED_CT, "code": translated, "display": stated.get("display")})] if translated else []


def concept(item: Attributes, keyword: str, settings: MappingSettings, findings: Findings) -> Resource | None:
    """Return the FHIR *CodeableConcept* of one item; None if it is empty."""
    stated = coding(item, keyword, settings, findings) or {}
    coded = codings(item, keyword, settings, findings)
    return filled({"coding": coded, "text": stated.get("display")}) or None


def concepts(
    sequence: Sequence[Attributes], keyword: str, settings: MappingSettings, findings: Findings
) -> list[Resource]:
    """Return the FHIR *CodeableConcept* of each item that is not empty, each once, in the order of the file."""
    distinct: list[Resource] = []
    for item in sequence:
        coded = concept(item, keyword, settings, findings)
        if coded is not None and coded not in distinct:
            distinct.append(coded)
    return distinct


def best_coding(item: Attributes, keyword: str, settings: MappingSettings, findings: Findings) -> Resource | None:
    """Choose the coding for an element that holds only one: in SNOMED CT, else with a system, else the item's own."""
    coded = codings(item, keyword, settings, findings)
    ranked = sorted(coded, key=lambda candidate: (candidate.get("system") != SNOMED_CT, "system" not in candidate))
    return ranked[0] if ranked else coding(item, keyword, settings, findings)


def with_declared_schemes(
    settings: MappingSettings, declared: Sequence[Attributes], findings: Findings
) -> MappingSettings:
    """
    Return the settings with the coding schemes that the files declare themselves.

    Parameters
    ----------
    declared
        Items of (0008,0110) Coding Scheme Identification Sequence: designator and UID (PS3.3 C.12.1). Schemes that are
        configured, or known to the standard, stay unchanged. Contradictory declarations of a scheme are ignored.
    """
    schemes: dict[str, set[str]] = {}
    for item in declared:
        designator = one_text(item, "CodingSchemeDesignator", findings)
        stated = one_text(item, "CodingSchemeUID", findings)
        scheme = system_uri(f"urn:oid:{stated}") if stated else None
        if stated and scheme is None:
            findings.note("CodingSchemeUID", "uid.unusable", "omitted")
        if designator and scheme and designator not in CODING_SCHEMES and designator not in settings.coding_schemes:
            schemes.setdefault(designator, set()).add(scheme)
    if any(len(uris) > 1 for uris in schemes.values()):
        findings.note("CodingSchemeIdentificationSequence", "coding.conflicting_scheme", "not used")
    usable = {designator: min(uris) for designator, uris in schemes.items() if len(uris) == 1}
    if not usable:
        return settings
    return settings.model_copy(update={"coding_schemes": {**usable, **settings.coding_schemes}})
