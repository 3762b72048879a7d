"""Walks from the terminal: listed with progress, paused, resumed and cancelled as by the buttons."""

import asyncio
import json
import math

import pytest
from typer.testing import CliRunner

from sync.cli import app, walk_control, walks
from sync.cli.reporting import console
from sync.cli.walks import share_walk
from sync.model import Cursor
from sync.operators.walks import begin_walk
from sync.protocol.walk_rows import read_walk
from sync.walks.backfill import KIND, Backfill, new_backfill
from sync.walks.sharing import cut_walk
from sync.walks.walk import HELD, LEASE, walk_of
from tests.unit.cli.in_process import runs_on
from tests.walking import EVERYTHING
from tests.worlds import MemoryWorld


@pytest.fixture
def empty(monkeypatch):
    made = MemoryWorld()
    runs_on(monkeypatch, walk_control, services=made.services)
    return made


@pytest.fixture
def world(empty):
    asyncio.run(begin_walk(new_backfill(EVERYTHING), empty.services, who="ada"))
    return empty


def typed(*words):
    return CliRunner().invoke(app, ["walks", *words])


def listed():
    return [json.loads(line) for line in typed("list", "--json").output.splitlines()]


def test_a_walk_is_paused_resumed_and_cancelled_by_its_id(world):
    (walk,) = listed()
    assert (walk["state"], walk["kind"], walk["container"]) == ("running", "backfill", "dicom")
    for deed, state in (("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")):
        told = typed(deed, walk["id"], "--as", "eve")
        assert (told.exit_code, told.output.split()[:2]) == (0, [walk["id"], state])
    assert {entry.who for entry in asyncio.run(world.services.audit.newest(9))} == {"ada", "eve"}


def test_that_there_is_no_walk_is_said_and_a_script_gets_no_line(empty):
    told = typed("list")
    assert (told.exit_code, told.stdout, told.stderr.strip()) == (
        0,
        "",
        "No replays, backfills, comparisons or exports.",
    )
    assert typed("list", "--json").output == ""


def test_an_unknown_id_is_wrong_usage(world):
    told = typed("pause", "0f3c9d2a7b11")
    assert told.exit_code == 2
    assert "there is no such walk" in told.output


async def test_a_walk_that_is_over_tells_the_rate_of_what_it_counted():
    w = MemoryWorld()
    for number in range(5):
        w.put(f"f/{number}", sop=f"2.25.{number + 1}")
    await begin_walk(new_backfill(EVERYTHING), w.services, who="ada")
    progress, rate = await shared(w, as_json=True)
    assert progress.counts["synced"] == 5
    assert rate > 0


async def killed_at(name, w):
    """Hold the lease of a row as a process that was killed leaves it, until it runs out."""
    async with walk_of(name, w.services):
        left = await w.services.cursors.read(name)
    stored = await w.services.cursors.read(name)
    await w.services.cursors.write(left.value, stored.etag)


async def shared(w, *, as_json=False):
    kinds = {KIND: Backfill(listing=w.store.objects)}
    return await share_walk(
        EVERYTHING.cursor, kinds, w.services, console(), heading="Reading", parallel=4, as_json=as_json
    )


@pytest.fixture
async def begun(monkeypatch):
    monkeypatch.setattr(walks, "WAITED_SECONDS", 0.3)
    w = MemoryWorld()
    w.put("f/1", sop="2.25.1")
    await begin_walk(new_backfill(EVERYTHING), w.services, who="ada")
    return w


async def run_out(w):
    await asyncio.sleep(1)
    w.clock.advance(LEASE + 1)


@pytest.mark.parametrize("killed", ["cutting", "working"])
@pytest.mark.parametrize("as_json", [False, True])
async def test_a_command_says_that_it_waits_for_the_lease_of_a_killed_process(begun, capsys, killed, as_json):
    name = EVERYTHING.cursor
    if killed == "working":
        await cut_walk(
            await read_walk(name, begun.services),
            {KIND: Backfill(listing=begun.store.objects)},
            begun.services,
            until=math.inf,
        )
        name = (await read_walk(name, begun.services)).slice_name(0)
    await killed_at(name, begun)
    (progress, _), _ = await asyncio.gather(shared(begun, as_json=as_json), run_out(begun))
    assert progress.counts["synced"] == 1
    said = [line for line in capsys.readouterr().err.splitlines() if HELD in line]
    assert len(said) == 1
    assert said[0] == (
        f"waiting   {HELD}" if not as_json else json.dumps({"event": "waiting", "code": "walk.held", "hint": HELD})
    )


async def test_a_command_that_works_says_nothing_of_leases(begun, capsys, monkeypatch):
    monkeypatch.setattr(walks, "WAITED_SECONDS", 0.0)
    await shared(begun)
    assert HELD not in capsys.readouterr().err


def test_a_walk_of_another_version_is_listed_with_what_to_do_and_cancelled(world):
    run = world.store.cursors.table.get(EVERYTHING.cursor).value.position["run"]
    spoilt = Cursor(name=EVERYTHING.cursor, position={"run": run, "kind": "backfill", "began": "yesterday"})
    world.store.cursors.table.upsert(EVERYTHING.cursor, spoilt)
    (walk,) = listed()
    assert (walk["id"], walk["state"], walk["problem"]) == (run, "unreadable", "store.unreadable")
    assert "cancel" in typed("list").output
    refused = typed("pause", run)
    assert (refused.exit_code, "does not understand" in refused.output) == (2, True)
    told = typed("cancel", run)
    assert (told.exit_code, told.output.split()[:2]) == (0, [run, "cancelled"])
    again = typed("cancel", run)
    assert (again.exit_code, again.output) == (0, told.output)
    assert listed() == []


@pytest.mark.parametrize("as_json", [False, True])
async def test_ctrl_c_says_that_the_walk_continues_and_how_to_stop_it(begun, capsys, as_json):
    await killed_at(EVERYTHING.cursor, begun)
    sharing = asyncio.create_task(shared(begun, as_json=as_json))
    await asyncio.sleep(0.1)
    sharing.cancel()  # as asyncio.run does at Ctrl-C
    with pytest.raises(asyncio.CancelledError):
        await sharing
    row = await read_walk(EVERYTHING.cursor, begun.services)
    (said,) = capsys.readouterr().err.splitlines()
    assert f"python -m sync walks pause {row.id}" in said
    assert json.loads(said)["event"] == "left" if as_json else said.startswith("left      Running functions continue")
