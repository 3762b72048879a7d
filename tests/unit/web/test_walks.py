"""Walks over HTTP: begun, paused and cancelled by operators only, told without names."""

import json
import math

import pytest

from sync.errors import StoreUnavailable
from sync.protocol.walk_rows import read_walk
from sync.walks.backfill import KIND, Backfill
from sync.walks.sharing import cut_walk
from sync.web import walks as web
from sync.web.exchange import Request, answered
from tests.walking import EVERYTHING, finished
from tests.worlds import MemoryWorld


@pytest.fixture
def w():
    world = MemoryWorld()
    world.services = world.process(operators="key")
    for number in range(5):
        world.put(f"Zztest/{number}", sop=f"2.25.{number}")
    return world


async def begun(w, headers=None, **fields):
    request = Request(headers=headers or {}, body=json.dumps(fields).encode())
    return await answered(web.start_backfill(request, ["dicom"], w.services))


async def changed(w, walk, deed, headers=None):
    request = Request(headers=headers or {}, params={"id": walk, "deed": deed}, body=b'{"who": "ada"}')
    return await answered(web.change_walk(request, w.services))


async def test_a_backfill_is_answered_at_once_shared_by_workers_and_told_without_names(w):
    answer = await begun(w, prefix="Zztest", who="ada")
    assert (answer.status, answer.body["begun"]) == (202, True)
    assert w.store.slice_queue.take() == 1  # a worker is called at once
    again = await begun(w, prefix="Zztest")
    assert (again.body["begun"], again.body["walks"][0]["id"]) == (False, answer.body["walks"][0]["id"])
    name = next(cursor.name for cursor in w.store.cursors.table.values() if "run" in cursor.position)
    await finished(name, {KIND: Backfill(listing=w.store.objects)}, w.services)
    told = (await answered(web.show_walks(w.services))).body
    (walk,) = told["walks"]
    assert (walk["state"], walk["share"], walk["counts"]) == ("done", 1.0, {"synced": 5})
    assert "Zztest" not in json.dumps(told)


async def test_a_walk_is_paused_resumed_and_cancelled_each_once_and_recorded(w):
    walk = (await begun(w)).body["walks"][0]["id"]
    told = []
    for deed in ("pause", "pause", "resume", "cancel", "resume"):
        answer = await changed(w, walk, deed)
        told.append((answer.body["changed"], answer.body["walk"]["state"]))
    assert told == [
        (True, "paused"),
        (False, "paused"),
        (True, "running"),
        (True, "cancelled"),
        (False, "cancelled"),
    ]
    assert w.store.slice_queue.take() == 2  # begun, and resumed
    actions = {entry.action for entry in await w.services.audit.newest(9)}
    assert actions == {"backfill.begin", "walk.pause", "walk.resume", "walk.cancel"}


async def test_a_backfill_is_begun_though_no_worker_can_be_called(w, monkeypatch):
    async def refused(delay=0.0):
        raise StoreUnavailable("no answer")

    monkeypatch.setattr(w.store.slice_queue, "call", refused)
    assert (await begun(w)).status == 202


async def test_a_cancelled_walk_keeps_its_counts_and_no_slices(w):
    walk = (await begun(w)).body["walks"][0]["id"]
    row = await read_walk(EVERYTHING.cursor, w.services)
    await cut_walk(row, {KIND: Backfill(listing=w.store.objects)}, w.services, until=math.inf)
    assert [cursor for cursor in w.store.cursors.table.values() if cursor.name.startswith("slice ")]
    await changed(w, walk, "cancel")
    assert not [cursor for cursor in w.store.cursors.table.values() if cursor.name.startswith("slice ")]


@pytest.mark.parametrize(
    "fields", [{"container": "other"}, {"since": "soon"}, {"rate": 0}, {"rate": "fast"}, {"rate": "nan"}, {"rate": 1e9}]
)
async def test_what_is_not_understood_begins_nothing(w, fields):
    assert (await begun(w, **fields)).status == 400
    assert w.store.cursors.table.values() == []


async def test_unknown_walks_and_deeds_are_not_found(w):
    assert (await changed(w, "none", "pause")).status == 404
    walk = (await begun(w)).body["walks"][0]["id"]
    assert (await changed(w, walk, "stop")).status == 404


async def test_readers_may_neither_begin_nor_change(w):
    walk = (await begun(w)).body["walks"][0]["id"]
    w.services = w.process(operators="entra")
    assert (await begun(w)).status == 403
    assert (await changed(w, walk, "cancel")).status == 403
