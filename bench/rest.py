"""
The storage requests of an app that has nothing to do: every job of the timers, counted by a relay before the storage.

The source, the rows and FHIR are real and agree. Each job runs as the functions compose it, one after the other, and
what it asked is divided by its period; the comparison runs for a whole round, as its runs differ. The host polls the
queues besides, as often as host.json lets it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from azure.storage.blob.aio import BlobServiceClient

from bench.goals import Goal, Section
from bench.studies import study
from bench.traffic import Journal
from bench.worlds import relayed_storage
from local.azurite import azurite
from local.fhir_embedded import embedded_fhir_server
from local.host.settings import read_host_settings
from sync import bootstrap
from sync.bootstrap import Running, jobs
from sync.config import Settings
from sync.model import RECONCILE_CURSOR, LastRound, ObjectRef, StudyRef
from sync.model.queues import QUEUES
from sync.monitoring.alerts.watch import watch
from sync.monitoring.status import last_round_of
from sync.monitoring.ticks import Job
from sync.verify.objects import project_again, reinspect

STUDIES, INSTANCES = 84, 3
"""The size of the world in which 12.3 requests a second were counted on Azure's own host."""

BEFORE = 12.3
CONTAINER = "rest"
RUNS = 5
"""Runs of each job that are counted, after one that is not."""

MANY = 3
"""Hosts with ids of their own, none of which leaves the timers to another."""

LONGEST_ROUND = 60
_AT_ONCE = 8
_WATCH_PERIOD = 30.0

HOW = (
    f"{STUDIES} studies of {INSTANCES} instances, a folder each, in the storage emulator and the embedded FHIR server, "
    "all in sync; each job of the timers run in this process, its requests counted by a relay before the storage and "
    "divided by its period; a batch is one request; the host's polls are computed from host.json"
)


def measure() -> Section:
    """Fill a world, let it rest and count."""
    with azurite() as storage, embedded_fhir_server() as fhir:
        asyncio.run(_fill(storage.connection_string, fhir.url))
        with relayed_storage(storage.connection_string) as (relayed, journal):
            counts = asyncio.run(_rest(relayed, fhir.url, journal))
            of_many = asyncio.run(_rest(relayed, fhir.url, journal, hosts=MANY))
    polls = len(QUEUES) / read_host_settings(Path(__file__).parents[1]).queues.max_polling_interval
    seconds = {name: round(count, 3) for name, count in counts.items()}
    goal = Goal(
        what=f"storage requests a second at rest, {STUDIES} studies",
        measured=round(sum(counts.values()) + polls, 2),
        bound=BEFORE / 2,
        floor=polls,
    )
    return Section(
        name="rest",
        how=HOW,
        goals=[goal],
        figures={
            "requests_a_second": {**seconds, "polls of the host": polls},
            f"requests_a_second_of_{MANY}_hosts_that_all_fire_the_timers": round(
                sum(of_many.values()) + MANY * polls, 2
            ),
        },
    )


def _settings(connection: str, fhir: str) -> Settings:
    return Settings(fhir_url=fhir, AzureWebJobsStorage=connection, containers=CONTAINER)


async def _fill(connection: str, fhir: str) -> None:
    """Upload the studies, and sync them as messages would."""
    running = await bootstrap.start(_settings(connection, fhir))
    slots = asyncio.Semaphore(_AT_ONCE)

    async def arrive(number: int) -> None:
        made = study(f"rest-{number}", INSTANCES)
        async with slots:
            for name, content in made.files():
                await container.upload_blob(name, content)
                ref = ObjectRef(account=running.sources.account, container=CONTAINER, name=name)
                await reinspect(ref, running.services)
            await project_again(StudyRef(study_instance_uid=made.uid), running.services)

    try:
        async with (
            BlobServiceClient.from_connection_string(connection) as service,
            service.get_container_client(CONTAINER) as container,
        ):
            await container.create_container()
            await asyncio.gather(*(arrive(number) for number in range(STUDIES)))
    finally:
        await running.close()


async def _rest(connection: str, fhir: str, journal: Journal, *, hosts: int = 1) -> Mapping[str, float]:
    """Return the requests a second of each job, which that many hosts begin at the same moment."""
    apps = [await bootstrap.start(_settings(connection, fhir)) for _ in range(hosts)]
    rates: dict[str, float] = {}

    async def look() -> None:
        await asyncio.gather(
            *(watch(a.services, recorder=a.recorder, channels=a.channels, listing=a.listing) for a in apps)
        )

    try:
        for same in zip(*(jobs.repairs(app) for app in apps), strict=True):

            async def run(same: Sequence[Job] = same) -> None:
                await asyncio.gather(*(_run(job) for job in same))

            job = same[0]
            runs = await _round(apps[0]) if job.timer == "reconcile" else RUNS
            rates[job.timer] = await _counted(run, runs, journal) / job.every
        rates["evaluate_alerts"] = await _counted(look, RUNS, journal) / _WATCH_PERIOD
    finally:
        for app in apps:
            await app.close()
    return rates


async def _run(job: Job) -> None:
    for phase in job.phases:
        await phase.work()


async def _counted(run: Callable[[], Awaitable[None]], runs: int, journal: Journal) -> float:
    """Return the requests of a run, on average."""
    await run()
    before = journal.length()
    for _ in range(runs):
        await run()
    return (journal.length() - before) / runs


async def _round(running: Running) -> int:
    """Return how many runs of the comparison make a round."""
    [reconcile] = [job for job in jobs.repairs(running) if job.timer == "reconcile"]
    ended = list[LastRound | None]()
    for number in range(LONGEST_ROUND):
        await reconcile.phases[0].work()
        stored = await running.services.cursors.read(RECONCILE_CURSOR)
        ended.append(last_round_of(stored.value if stored else None))
        if len(rounds := [at for at in range(1, number + 1) if ended[at] != ended[at - 1]]) == 2:
            return rounds[1] - rounds[0]
    raise TimeoutError("the comparison came to no end of a round")
