"""The inbox of one reader: the items that name the reader, and the marks on them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from insights.fetch.paging import search
from insights.fetch.service import FhirService
from insights.inbox.items import ITEM, MARK, READER_TAG, WITHDRAWN, code_of, recipient_of, rule_of, search_tag, state_of
from insights.outcomes.addressees import Addressee
from sync.adapters.http.fhir.answers import carries, escape_token
from sync.model.elements import part, parts, text

Resource = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """An item and the reader's mark on its present state; empty if there is none."""

    item: Resource
    mark: str = ""
    by: str = ""
    at: str = ""

    @property
    def lines(self) -> list[str]:
        """Return the text of the item."""
        return [text(content, "contentString") for content in parts(self.item, "payload")]

    @property
    def patient(self) -> str:
        """Return the reference to the Patient."""
        return text(part(self.item, "subject"), "reference")

    @property
    def rule(self) -> str:
        """Return the rule of the item."""
        return rule_of(self.item)


@dataclass(frozen=True, slots=True)
class Owner:
    """
    A reader's entries in the FHIR service.

    Attributes
    ----------
    practitioners
        ``Practitioner/ID`` of the Practitioners with the signed-in name as an identifier.
    identifiers
        System and value of their identifiers.
    """

    name: str
    practitioners: frozenset[str]
    identifiers: frozenset[tuple[str, str]]

    def is_named_by(self, item: Resource) -> bool:
        """Return whether an item is for this reader."""
        to = recipient_of(item)
        if to.reference:
            return to.reference in self.practitioners
        return (to.system, to.value) in self.identifiers or (bool(to.value) and to.value == self.name)


async def owner_of(service: FhirService, name: str) -> Owner:
    """
    Return the reader who signs in with a name.

    Raises
    ------
    CollectError, Unavailable
        The search is refused, or the service does not answer.
    """
    # a service's index may return others, whose identifiers only look the same to it
    matching = await search(service, "Practitioner", f"identifier={quote(escape_token(name), safe='')}")
    practitioners = [practitioner for practitioner in matching if carries(practitioner, None, name)]
    identifiers = {
        (text(one, "system"), value)
        for practitioner in practitioners
        for one in parts(practitioner, "identifier")
        if (value := text(one, "value"))
    }
    return Owner(
        name, frozenset(f"Practitioner/{practitioner['id']}" for practitioner in practitioners), frozenset(identifiers)
    )


async def read_inbox(service: FhirService, owner: Owner) -> list[Entry]:
    """
    Return the items of a reader, latest first, without withdrawn ones.

    Raises
    ------
    CollectError, Unavailable
        The search is refused, or the service does not answer.
    """
    values = {owner.name, *(value for _, value in owner.identifiers)}
    names = [*(Addressee(reference=name) for name in owner.practitioners), *(Addressee(value=name) for name in values)]
    tags = ",".join(sorted(f"{READER_TAG}|{search_tag(addressee)}" for addressee in names))
    messages = await search(service, "Communication", f"_tag={quote(tags, safe=',')}")
    mine = [message for message in messages if code_of(message) == ITEM and owner.is_named_by(message)]
    return entries_of([message for message in mine if message.get("status") != WITHDRAWN], messages)


def entries_of(items: Iterable[Resource], communications: Iterable[Resource]) -> list[Entry]:
    """Return items with the latest mark on their present state; pure."""
    marks: dict[tuple[str, str], Resource] = {}
    for message in sorted(communications, key=lambda one: text(one, "sent")):
        if code_of(message) == MARK:
            for about in parts(message, "inResponseTo"):
                marks[text(about, "reference"), state_of(message)] = message
    entries = [_entry(message, marks.get((f"Communication/{message['id']}", state_of(message)))) for message in items]
    return sorted(entries, key=lambda one: (text(one.item, "sent"), str(one.item["id"])), reverse=True)


def _entry(item: Resource, mark: Resource | None) -> Entry:
    if mark is None:
        return Entry(item)
    return Entry(item, code_of(mark, "reasonCode"), text(part(mark, "sender"), "display"), text(mark, "sent"))
