"""``python -m sync feedback``: compares a reader's findings in images with later outcomes."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from insights.cli.options import DataFolder, OutFolder, Overwrite, RuleFile
from insights.cli.reporting import command, console
from sync.words import counted

if TYPE_CHECKING:
    from insights.inbox.watching import WatchRun
    from insights.outcomes.rule import Prepared
    from sync.bootstrap import Running

FIRST_DAYS = 30

app = typer.Typer(
    name="feedback",
    help="Feedback to readers and models: compare their findings with later outcomes.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@app.callback()
def _feedback() -> None:
    """Group the commands that give readers feedback."""


@app.command("report")
@command
def report_feedback(
    file: RuleFile,
    *,
    reader: Annotated[
        str,
        typer.Option(metavar="READER", help="Practitioner/ID, or SYSTEM|VALUE of an identifier.", show_default=False),
    ],
    out: OutFolder,
    data: DataFolder = Path("data"),
    overwrite: Overwrite = False,
) -> None:
    """
    Show one reader the outcomes of the reads: finding, outcome, days in between, agreement.

    The report begins with coverage, because few reads have a known outcome. It has no scores and no ranking, and only
    the reads of that reader. The files hold real ids and are readable by their owner only; `audit.ndjson` beside the
    data records the report. docs/feedback.md explains which outcome answers which read, and the limits.

    **Examples**

    - of a reader in the directory: `python -m sync feedback report nodules.yaml --reader Practitioner/17 --out mine`

    - by an identifier: `python -m sync feedback report nodules.yaml --reader r-17 --out mine`

    **Exit codes**

    - 0: the report is written

    - 2: the rule or the data is wrong, or no report names the reader; nothing was written
    """
    from insights.outcomes.feedback import report  # noqa: PLC0415 -- loaded when the command runs

    typer.echo(report(file, data, reader, out, overwrite=overwrite), nl=False)
    console().print(f"written to {out}")


@app.command("watch")
@command
def watch_outcomes(
    file: RuleFile,
    *,
    every: Annotated[float, typer.Option("--every", metavar="MINUTES", help="Minutes between runs.", min=0.05)] = 5,
    once: Annotated[bool, typer.Option("--once", help="Make one run, for use from a scheduler.")] = False,
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], metavar="DAY", help="Where the first run begins; else 30 days ago."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write the counts of each run as JSON.")] = False,
) -> None:
    """
    Report outcomes to readers and models as they arrive in FHIR, until Ctrl-C or SIGTERM.

    Each run reads the records of patients that changed since the last run, matches them as `feedback report` does, and
    writes an item for each outcome to the inbox: a Communication in FHIR. New and changed items are published as
    `feedback.found` and `model.outcome`, and once a week as `feedback.digest`, without patient data. Runs are
    idempotent: nothing is sent twice. The cursor is in the state account, and two processes never run the same rule at
    once; after a kill, another process takes over within a minute.

    **Examples**

    - beside the sync: `python -m sync feedback watch nodules.yaml`

    - from a scheduler: `python -m sync feedback watch nodules.yaml --once`

    **Exit codes**

    - 0: ended by a signal; with `--once`: the run is done

    - 2: the rule or a setting is wrong, or the FHIR service refuses

    - 3: with `--once`, or at the start: FHIR or the state account did not answer; the cursor stays
    """
    from insights.outcomes.rule import prepare  # noqa: PLC0415 -- loaded when the command runs
    from sync.cli.connecting import with_services  # noqa: PLC0415 -- loaded when the command runs

    prepared = prepare(file)
    begin = since.replace(tzinfo=UTC) if since else datetime.now(UTC) - timedelta(days=FIRST_DAYS)
    tell = partial(_tell, as_json=as_json)
    if once:
        tell(with_services(partial(_run, prepared=prepared, begin=begin)))
        return

    async def watched(running: Running) -> None:
        from insights.inbox.watching import LEASE_SECONDS  # noqa: PLC0415 -- loaded when the command runs
        from sync.cli.standing_watch import rounds, stop_by_signal  # noqa: PLC0415 -- loaded when the command runs

        stop = stop_by_signal()
        console().print(f"watching every {every:g} minutes; Ctrl-C ends it")
        async for _ in rounds(every * 60, stop):
            # Do not wait a whole interval: the holder may have been killed, and this process started to replace it.
            async for _ in rounds(min(LEASE_SECONDS, every * 60), stop):
                if await _run_through_outages(running, prepared, begin, as_json=as_json):
                    break

    with_services(watched)


async def _run_through_outages(running: Running, prepared: Prepared, begin: datetime, *, as_json: bool) -> bool:
    """Make one of many runs; return whether the rule was free. After an outage, the next run continues."""
    from insights.errors import Unavailable  # noqa: PLC0415 -- loaded when the command runs
    from sync.errors import TransientError  # noqa: PLC0415 -- loaded when the command runs

    try:
        done = await _run(running, prepared=prepared, begin=begin)
    except (Unavailable, TransientError) as outage:
        console().print(f"{outage}; the next run begins where this one did")
        return True
    _tell(done, as_json=as_json)
    return done is not None


async def _run(running: Running, *, prepared: Prepared, begin: datetime) -> WatchRun | None:
    from insights.fetch.service import connected  # noqa: PLC0415 -- loaded when the command runs
    from insights.inbox.watching import Ports, watch_once  # noqa: PLC0415 -- loaded when the command runs

    services = running.services
    async with connected(services.settings.fhir_url) as service:
        return await watch_once(service, prepared, Ports(services, services), begin=begin)


def _tell(done: WatchRun | None, *, as_json: bool) -> None:
    if done is None:
        console().print("another process runs this rule")
    elif as_json:
        typer.echo(json.dumps(asdict(done), sort_keys=True))
    else:
        typer.echo(
            f"{counted(done.patients, 'patient')} changed: {counted(done.told_readers, 'outcome')} told to readers, "
            f"{done.told_models} to models, {done.withdrawn} withdrawn, {counted(done.digests, 'digest')}"
        )
