"""
Measures pages in a large world: milliseconds until the last byte, and requests to the storage, page by page.

    fill ──> Azurite <── functions host <── every page, in turns      how long
             Azurite <── relay <── functions host <── the same        how many requests

Nothing is measured through the relay, whose own work would count. The timers run, as they do in a world that is used:
their requests are separated from a page's by taking the median over several visits.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html import unescape
from statistics import mean, median
from urllib.parse import urlencode, urlsplit

import httpx

from bench.goals import Goal, Section
from bench.large_world import CODES, MODALITIES, Size, accession, fill, letter_of, study_of
from bench.processor import worked
from bench.traffic import HOST, Journal, kind_of
from bench.worlds import BenchError, relayed_storage
from local.azurite import azurite
from local.fhir_embedded import embedded_fhir_server
from local.supervision import Supervised
from local.world import APP

FULL, QUICK = Size(studies=10_000, dead_letters=5_000), Size(studies=2_000, dead_letters=1_500)
TRIAL = Size(
    studies=120,
    dead_letters=300,
    outstanding=5,
    with_ledger=2,
    with_history=20,
    objects=20,
    drifts=5,
    replays=2,
    workers=1,
    minutes=90,
)
"""Just large enough that each page is there, and a next one."""

VISITS, QUICK_VISITS, COUNTED_VISITS = 20, 5, 5
TYPICAL, WORST = 150, 300
"""Milliseconds: the median of a page, and its slowest visit."""

MOST_REQUESTS = 30

HOW = (
    "Azurite and the embedded FHIR server filled through our adapters (studies, dead letters of eight codes, a day of "
    "minutes from three workers and a week of hours), our functions host and its timers running, one visitor; a page "
    "visited repeatedly after one visit that is not counted; from the request until the last byte of the answer, over "
    "HTTP; cpu_ms: processor time of host and emulator meanwhile, in the mean"
)


@dataclass(slots=True)
class Visited:
    """The cost of the visits of one page."""

    milliseconds: list[float] = field(default_factory=list)
    worked: list[float] = field(default_factory=list)
    """Milliseconds of processor time, of the functions host and of the storage emulator."""
    requests: list[int] = field(default_factory=list)

    def as_json(self) -> dict[str, float]:
        """Return it as the results file has it."""
        return {
            "median_ms": round(median(self.milliseconds), 1),
            "worst_ms": round(max(self.milliseconds), 1),
            "cpu_ms": round(mean(self.worked), 1),
            "requests": round(median(self.requests)),
        }


def measure(*, quick: bool) -> Section:
    """Fill a world, and request every page of the dashboard."""
    return _measured(QUICK if quick else FULL, QUICK_VISITS if quick else VISITS, COUNTED_VISITS)


def trial() -> Section:
    """Look once at every page of the smallest world: the figures say nothing but that it runs."""
    return _measured(TRIAL, 1, 1)


def _measured(size: Size, visits: int, counted_visits: int) -> Section:
    with azurite() as storage, embedded_fhir_server() as fhir:
        asyncio.run(fill(storage.connection_string, size, fhir.url))
        with _host(storage.connection_string, fhir.url) as (api, host):
            pages = _pages(api)
            visited = {name: Visited() for name in pages}
            for _ in _visits(pages, visited, visits, (host, storage.pid)):
                pass
        with relayed_storage(storage.connection_string) as (relayed, journal), _host(relayed, fhir.url) as (api, _):
            _count(_pages(api), visited, journal, counted_visits)
    figures = {name: page.as_json() for name, page in visited.items()}
    return Section(name="pages", how=HOW, goals=list(_goals(figures, size)), figures={"pages": figures})


def _goals(figures: Mapping[str, Mapping[str, float]], size: Size) -> Iterator[Goal]:
    where = f"{size.studies:,} studies, {size.dead_letters:,} dead letters"
    for what, column, bound, unit in (
        ("median", "median_ms", TYPICAL, " ms"),
        ("worst", "worst_ms", WORST, " ms"),
        ("requests to the storage", "requests", MOST_REQUESTS, ""),
    ):
        name, figure = max(figures.items(), key=lambda pair: pair[1][column])
        yield Goal(
            what=f"{what} of the dearest page ({name}), {where}",
            measured=figure[column],
            bound=bound,
            unit=unit,
            tolerance=0.5,
        )


@contextlib.contextmanager
def _host(storage: str, fhir: str) -> Iterator[tuple[str, int]]:
    """Run the functions host; yield the address of its API, and its process id."""
    env = {
        "AzureWebJobsStorage": storage,
        "DICOM_SYNC_FHIR_URL": fhir,
        "DICOM_SYNC_OPERATORS": "key",
        "DICOM_SYNC_RECONCILE_STUDIES_PER_MINUTE": "0",
        "DICOM_SYNC_ALERT_LAG_SECONDS": "1000000",
    }
    with Supervised(_command, port=0, env=env, log=lambda _: None) as host:
        yield f"{host.url}/api", host.pid


def _command(port: int) -> list[str]:
    return [sys.executable, "-m", "local.leash", "-m", "local.host", str(APP), "--port", str(port)]


def _pages(api: str) -> dict[str, str]:
    """Return name -> address of every page; for a next page, the link of the page before it."""
    common, rare = next(iter(CODES)), list(CODES)[-1]
    letter = letter_of(common, 0, datetime.now(UTC))
    named: dict[str, tuple[str, dict[str, str]]] = {
        "overview, hour": ("dashboard", {}),
        "overview, day": ("dashboard", {"range": "day"}),
        "overview, week": ("dashboard", {"range": "week"}),
        "studies": ("dashboard/studies", {}),
        "search by UID": ("dashboard/studies", {"q": study_of(7).study_instance_uid}),
        "search by accession number": ("dashboard/studies", {"q": accession(1471)}),
        "search by modality and days": (
            "dashboard/studies",
            {"modality": MODALITIES[0], "from": _day(-60), "to": _day(-1), "sort": "started"},
        ),
        "studies, JSON": ("studies", {"modality": MODALITIES[1]}),
        "study": ("dashboard/study", {"uid": study_of(100).study_instance_uid}),
        "study, the largest": ("dashboard/study", {"uid": study_of(0).study_instance_uid}),
        "letters": ("dashboard/letters", {}),
        "letters of a code": ("dashboard/letters", {"of": common}),
        "letter": ("dashboard/letter", {"kind": letter.kind.value, "subject": letter.subject}),
        "letters of a rare code": ("dashboard/letters", {"of": rare}),
        "confirm all of a code": ("dashboard/confirm", {"action": "retry", "of": common}),
        "confirm one": (
            "dashboard/confirm",
            {"action": "discard", "kind": letter.kind.value, "subject": letter.subject},
        ),
        "jobs": ("dashboard/jobs", {}),
        "audit": ("dashboard/audit", {}),
        "replays, JSON": ("replay", {}),
        "status, JSON": ("status", {}),
        "dead letters, JSON": ("dead-letters", {}),
        "dead letters of a code, JSON": ("dead-letters", {"code": common}),
        "study, JSON": (f"studies/{study_of(100).study_instance_uid}", {}),
    }
    pages = {name: f"{api}/{path}?{urlencode(query)}" for name, (path, query) in named.items()}
    for name in ("studies", "letters of a code"):
        pages[f"{name}, next page"] = _next_page(api, pages[name])
    return pages


def _next_page(api: str, page: str) -> str:
    following = re.search(r'href="([^"]*token=[^"]*)"', httpx.get(page, timeout=60).raise_for_status().text)
    if following is None:
        raise BenchError(f"there is no next page of {page}")
    host = urlsplit(api)
    return f"{host.scheme}://{host.netloc}{unescape(following[1])}"


def _day(days: int) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).date().isoformat()


def _visits(
    pages: Mapping[str, str], visited: Mapping[str, Visited], times: int, processes: Sequence[int] = ()
) -> Iterator[str]:
    """Visit all pages in turns, and note how long each took; the first turn is not noted. Yields after each."""
    with httpx.Client(timeout=60) as visitor:
        for turn in range(times + 1):
            for name, address in pages.items():
                before, began = worked(processes), time.perf_counter()
                answer = visitor.get(address)
                took = 1000 * (time.perf_counter() - began)
                if answer.status_code != 200:
                    raise BenchError(f"{name} was answered {answer.status_code}")
                if turn:
                    visited[name].milliseconds.append(took)
                    visited[name].worked.append(worked(processes) - before)
                yield name


def _count(pages: Mapping[str, str], visited: Mapping[str, Visited], journal: Journal, times: int) -> None:
    uncounted = {name: Visited() for name in pages}
    seen = journal.length()
    for name in _visits(pages, uncounted, times):
        made = journal.since(seen)
        seen += len(made)
        visited[name].requests.append(sum(kind_of(request) != HOST for request in made))
