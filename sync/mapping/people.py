"""
Participants: names and ids of a data set -> logical references, for which no Practitioner is made.

Two attributes identify a person: a name, and an item of an identification sequence (PS3.3 Table 10-1), in the same
order. A name alone identifies no one, so a reference carries all available values, and resolves once a server knows the
id.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple

from sync.config import MappingSettings
from sync.dicom.attributes import first_text, items, texts
from sync.mapping.agreement import Witnesses
from sync.mapping.identifiers import coded_identifier
from sync.mapping.names import printable_name
from sync.mapping.values import Findings, filled, one_text
from sync.model import Attributes, Resource


class Role(NamedTuple):
    """The two attributes that name the people of one role."""

    names: str
    ids: str


def people(witnesses: Witnesses, role: Role, settings: MappingSettings, findings: Findings) -> list[Resource]:
    """
    Return logical references to the people of a role, each once, in the order of the file.

    Names and ids are paired if there are as many of one as of the other. If not, the pairing is unknown:
    names win, ids stand alone only where there are no names.
    """
    attributes = witnesses.agree(role.names, role.ids)
    names: Sequence[str | None] = texts(attributes, role.names)
    ids = items(attributes, role.ids)
    if len(attributes.get(role.names, ())) == len(ids):
        names = [first_text({role.names: [name]}, role.names) for name in attributes.get(role.names, ())]
    elif names and ids and len(names) != len(ids):
        findings.note(role.ids, "person.unmatched_ids", "names only")
        ids = ()
    distinct: list[Resource] = []
    for name, item in zip_longest(names, ids):
        person = _person(name, item or {}, role, settings, findings)
        if person is not None and person not in distinct:
            distinct.append(person)
    return distinct


def _person(
    name: str | None, item: Attributes, role: Role, settings: MappingSettings, findings: Findings
) -> Resource | None:
    """Return a logical *Reference*: ``identifier`` of (0040,1101), ``display`` of the name, else the code's meaning."""
    keyword = "PersonIdentificationCodeSequence"
    codes = items(item, keyword)
    if len(codes) > 1:
        findings.note(keyword, "value.multiple", "first value used")
    display = printable_name(name, role.names, findings)
    identifier = coded_identifier(codes[0], keyword, settings, findings) if codes else None
    if display is None and codes:
        display = one_text(codes[0], "CodeMeaning", findings)
    institution = one_text(item, "InstitutionName", findings) if identifier else None
    if identifier and institution:
        identifier = {**identifier, "assigner": {"display": institution}}
    if identifier is None and display is None:
        return None
    return filled({"type": "Practitioner", "identifier": identifier, "display": display})
