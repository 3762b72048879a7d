"""Weekly digests of the inboxes: one event per reader, without patient data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import quote

from insights.fetch.paging import search
from insights.fetch.service import FhirService
from insights.inbox.items import ITEM, MARK, SYSTEM, WITHDRAWN, addressee_key, recipient_of, rule_of
from insights.inbox.reading import Entry, entries_of
from sync.model import digest
from sync.model.result_events import FeedbackDigest, ResultEvent


def week_of(day: date) -> str:
    """Return the ISO week of a day, such as 2026-W27."""
    year, week, _ = day.isocalendar()
    return f"{year}-W{week:02}"


async def digests(service: FhirService, rule: str, now: datetime) -> list[ResultEvent]:
    """
    Return the digests of the last whole week; the same week gives the same ids.

    Raises
    ------
    CollectError, Unavailable
        The search is refused, or the service does not answer.
    """
    monday = now.date() - timedelta(days=now.weekday() + 7)
    since = f"sent=ge{monday.isoformat()}T00:00:00Z"
    until = f"sent=lt{(monday + timedelta(7)).isoformat()}T00:00:00Z"
    of_week = await search(service, "Communication", f"category={quote(f'{SYSTEM}|{ITEM}')}&{since}&{until}")
    marks = await search(service, "Communication", f"category={quote(f'{SYSTEM}|{MARK}')}&{since}")
    items = [
        message
        for message in of_week
        if rule_of(message) == rule and message.get("status") != WITHDRAWN and _week_sent(message) == week_of(monday)
    ]
    by_reader: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries_of(items, marks):
        to = recipient_of(entry.item)
        if not to.reference.startswith("Device/"):
            by_reader[addressee_key(to)].append(entry)
    week = week_of(monday)
    return [_event(key, entries, rule, week, now) for key, entries in sorted(by_reader.items())]


def _week_sent(item: Mapping[str, Any]) -> str:
    """Return the week in which an item was sent: a service that ignores ``sent`` returns the items of all weeks."""
    return week_of(datetime.fromisoformat(str(item["sent"])).astimezone(UTC).date())


def _event(key: str, entries: list[Entry], rule: str, week: str, now: datetime) -> ResultEvent:
    unmarked = sum(not entry.mark for entry in entries)
    told = FeedbackDigest(reader=key, rule=rule, week=week, items=len(entries), unmarked=unmarked)
    return ResultEvent.of(told, id=digest("feedback-digest", rule, key, week), subject=f"readers/{key}", at=now)
