"""
The storage requests of a page: their number does not grow with the size of the world.

Seconds are for `python -m bench pages`; a page that reads what it shows row by row, or table by table, fails here.
"""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from functools import partial

import pytest
from azure.core.pipeline.transport import AioHttpTransport

from bench.large_world import CODES, Size, fill, letter_of, study_of
from local.azurite import azurite
from sync import bootstrap
from sync.config import Settings
from sync.monitoring import status
from sync.ports.operations import NEWEST
from sync.web import dashboard, dead_letters, replays
from sync.web.exchange import Request

FEW = {"with_ledger": 2, "workers": 1, "minutes": 90}
SMALL = Size(
    studies=20, dead_letters=60, outstanding=5, with_history=20, objects=20, drifts=5, replays=2, audits=20, **FEW
)
LARGE = Size(studies=1100, dead_letters=1100, outstanding=150, with_history=100, objects=150, audits=120, **FEW)
COMMON, *_, RARE = CODES
LETTER = letter_of(COMMON, 0, datetime.now(UTC))

PAGES = {
    "overview of an hour": (16, "", {}),
    "overview of a day": (16, "", {"range": "day"}),
    "overview of a week": (16, "", {"range": "week"}),
    "studies while FHIR fails": (1, "studies", {}),
    "dirty studies": (1, "studies", {"state": "dirty"}),
    "removed studies": (1, "studies", {"state": "removed"}),
    "dead-lettered studies": (41, "studies", {"state": "dead_lettered"}),
    "search": (3, "studies", {"q": study_of(7).study_instance_uid}),
    "study": (5, "study", {"uid": study_of(0).study_instance_uid}),
    "letters": (4, "letters", {}),
    "letter": (2, "letter", {"kind": LETTER.kind.value, "subject": LETTER.subject}),
    "jobs": (2, "jobs", {}),
    "audit": (1, "audit", {}),
    "letters of a code": (1, "letters", {"of": COMMON}),
    "letters of a rare code": (1, "letters", {"of": RARE}),
    "confirm all of a code": (2, "confirm", {"action": "retry", "of": COMMON}),
    "confirm one": (1, "confirm", {"action": "discard", "kind": LETTER.kind.value, "subject": LETTER.subject}),
}
"""Name -> requests at most, page, query."""


async def visits(connection):
    """Look at everything twice, and return how many requests the second look took: a process has hints by then."""
    settings = Settings(fhir_url="http://localhost:1/fhir", AzureWebJobsStorage=connection, operators="key")
    running = await bootstrap.start(settings)
    s, sources = running.services, running.sources
    made, send, now = Counter(), AioHttpTransport.send, []

    async def counted(self, request, **options):
        made[now[-1]] += 1
        return await send(self, request, **options)

    async def show(page, query):
        asked = Request(params={"page": page}, query=query)
        answer = await dashboard.dashboard(asked, "http://app/api/dashboard", "GET", sources, s)
        assert answer.status == 200, answer.body

    inspections = {name: partial(show, page, query) for name, (_, page, query) in PAGES.items()} | {
        "status": partial(status.status, s),
        "replays": partial(replays.list_replays, s),
        "dead letters": partial(dead_letters.list_dead_letters, Request(), s),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AioHttpTransport, "send", counted)
        for _ in range(2):
            made.clear()
            for name, inspection in inspections.items():
                now.append(name)
                await inspection()
    await running.close()
    return made


@pytest.fixture(scope="module")
def requests():
    """Requests by page: of a small world, and of a large one, where a table has more rows than an answer holds."""

    def of(size):
        with azurite() as storage:
            asyncio.run(fill(storage.connection_string, size))
            return asyncio.run(visits(storage.connection_string))

    return of(SMALL), of(LARGE)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_takes_so_many_requests(requests, name):
    most, *_ = PAGES[name]
    for made in requests:
        assert 0 < made[name] <= most


def test_the_list_of_codes_reads_so_many_letters_of_each(requests):
    for made in requests:
        assert 0 < made["dead letters"] <= 2 + NEWEST * len(CODES)


BY_ROW = {"dead-lettered studies"}
"""A request for each row that is shown, for the study of its dead letter; their number is bounded by the page."""


@pytest.mark.parametrize("name", ["status", "replays", *(name for name in PAGES if name not in BY_ROW)])
def test_a_large_world_takes_no_more_requests_than_a_small_one(requests, name):
    small, large = requests
    assert 0 < large[name] <= small[name]
