"""The status in the terminal says the verdict, why, and the figures."""

import asyncio
import io
import json
from types import SimpleNamespace

import pytest
from rich.console import Console
from typer.testing import CliRunner

from sync.cli import app
from sync.cli import show_status as command
from sync.monitoring.alerts.evaluation import evaluate_alerts
from sync.monitoring.alerts.event_channel import EventChannel
from sync.monitoring.history import Recorder
from sync.monitoring.status import read_status
from tests.unit.monitoring.test_alerts import Watched, old_study
from tests.worlds import UNREADABLE, MemoryWorld


async def told_of(world):
    return await read_status(world.services)


def drawn(told):
    out = Console(file=io.StringIO(), width=100)
    out.print(command.picture(told))
    return out.file.getvalue()


async def test_the_picture_says_verdict_reason_and_dead_letters():
    w = Watched()
    await w.w.arrive("x", UNREADABLE)
    await old_study(w)
    await w.tick()
    shown = drawn(await told_of(w.w))
    assert "FAILING" in shown
    assert "alert.lag" in shown
    assert "header.not_dicom 1" in shown


@pytest.mark.parametrize(("failing", "code"), [(False, 0), (True, 1)])
async def test_the_exit_code_says_whether_it_fails(monkeypatch, failing, code):
    w = Watched()
    if failing:
        await old_study(w)
    await w.tick()
    told = await told_of(w.w)
    monkeypatch.setattr(command, "with_services", lambda _: told)
    answer = CliRunner().invoke(app, ["status", "--json"])
    assert answer.exit_code == code


@pytest.mark.parametrize("while_it", ["waits", "looks"])
async def test_ctrl_c_ends_the_watch_with_what_was_last_seen(monkeypatch, capsys, while_it):
    w, looked, inspections = Watched(), asyncio.Event(), iter(range(9))
    await w.tick()

    async def inspection(_):
        there = next(inspections) == (2 if while_it == "looks" else 0)
        if there:
            looked.set()
        if there and while_it == "looks":
            await asyncio.sleep(60)
        return await told_of(w.w)

    monkeypatch.setattr(command, "read_status", inspection)
    monkeypatch.setattr(command, "EVERY", 0.01 if while_it == "looks" else 60)
    watching = asyncio.create_task(command._told(SimpleNamespace(services=w.w.services), watch=True, as_json=False))
    await looked.wait()
    await asyncio.sleep(0.05)
    watching.cancel()  # what asyncio.run does on Ctrl-C
    assert (await watching).health.verdict == "in sync"
    assert capsys.readouterr().out.count("IN SYNC") == (2 if while_it == "looks" else 1)  # it goes to no terminal


def test_the_rules_are_exported_without_any_service():
    answer = CliRunner().invoke(app, ["alerts", "export", "--format", "workbook"])
    assert answer.exit_code == 0
    assert json.loads(answer.output)["version"] == "Notebook/1.0"


async def test_an_alert_is_announced_once_as_a_result_event_under_its_own_id():
    class Topic:
        def __init__(self):
            self.got = []

        async def publish(self, events):
            self.got += events

    from dataclasses import replace

    w = MemoryWorld()
    s = replace(w.services, results=Topic())
    world = Watched()
    world.w, world.s = w, s
    await old_study(world)
    recorder = Recorder(s.telemetry, w.store.metrics, w.clock)
    for _ in range(3):
        await evaluate_alerts(s, recorder=recorder, channels={"events": EventChannel(s)})
        w.clock.advance(30)
    (event,) = s.results.got
    assert event.type.endswith("alert.raised.v1")
    assert event.data["code"] == "alert.lag"
    assert event.id.endswith("-raised")
