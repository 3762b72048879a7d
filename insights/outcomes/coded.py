"""Compiles the codes of a rule to SQL: yes, no or neither, and the place."""

from __future__ import annotations

from insights.cohort.codes import CodeSets
from insights.cohort.records import has_code
from insights.outcomes.matching import ELSEWHERE, Place, Side
from insights.outcomes.rule import Judged, Rule
from insights.views.shape import literal

_SIDES: dict[str, Side] = {"7771000": "left", "24028007": "right", "51440002": "both", "L": "left", "R": "right"}
"""SNOMED CT left, right, and right and left; and DICOM's letters."""

LATERALITY = "272741003"
"""SNOMED CT Laterality: the component of an Observation with the side."""


def judged(system: str, code: str, names: Judged, codes: CodeSets) -> str:
    """Return TRUE, FALSE or NULL for a coding, as SQL."""
    yes = has_code(system, code, codes[names.positive])
    no = has_code(system, code, codes[names.negative])
    return f"CASE WHEN {yes} THEN TRUE WHEN {no} THEN FALSE END"


def place(system: str, code: str, rule: Rule, codes: CodeSets) -> str:
    """Return ``site|side`` of a coding, `ELSEWHERE`, or NULL if there is none; as SQL."""
    cases = []
    for name, site in rule.sites.items():
        for side, listed in (("left", site.left), ("right", site.right), ("", site.codes)):
            if listed is not None:
                cases.append(f"WHEN {has_code(system, code, codes[listed])} THEN {literal(f'{name}|{side}')}")
    return f"CASE WHEN {code} IS NULL THEN NULL {' '.join(cases)} ELSE {literal(ELSEWHERE)} END"


def place_of(text: str | None, side_code: str | None, rule: Rule) -> Place:
    """
    Return a place from the result of `place` and a separate code of the side.

    The separate side wins over the side of the site's code.
    """
    site, _, written = (text or "").partition("|")
    if site in rule.sites and not rule.sites[site].has_sides:
        return Place(site, "none")
    side = _SIDES.get(side_code or "") or (written if written in ("left", "right") else None)
    return Place(site or None, side)  # type: ignore[arg-type]


def common_place(places: list[Place]) -> Place:
    """Return the common place of several; a part on which they disagree is unknown."""
    sites = {place.site for place in places}
    sides = {place.side for place in places}
    if len(sites) != 1:
        return Place()
    return Place(sites.pop(), sides.pop() if len(sides) == 1 else None)
