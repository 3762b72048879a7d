"""Every operator action is recorded, once and under one name, whichever way it came."""

from __future__ import annotations

import asyncio
import importlib
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from typer.testing import CliRunner

from sync.cli import app, user
from sync.model import StudyRef
from sync.operators.audit import OperatorAction
from sync.operators.pause import pause_projection, resume_projection
from sync.replay.jobs import begin_replay, kinds_of
from sync.replay.requests import ReplayRequest, cursor_of
from sync.web.exchange import Request as HttpRequest
from sync.web.replays import start_replay
from tests.unit.web.test_dashboard import post
from tests.walking import finished
from tests.worlds import SOURCES, STUDY, MemoryWorld, run

SYNC = Path(__file__).parents[3] / "sync"
OF_STUDY = ReplayRequest(source="blob", study=STUDY, reread=True)


@pytest.fixture
def w(monkeypatch):
    world = MemoryWorld()
    running = SimpleNamespace(
        services=world.services, listing=None, replayed={"blob": None}, sources=None, kinds=kinds_of({})
    )
    for command in ("alerts", "replay", "verify_all"):
        module = importlib.import_module(f"sync.cli.{command}")  # the package has functions of the same names
        monkeypatch.setattr(module, "with_services", lambda work, **_: asyncio.run(work(running)))
    monkeypatch.setenv("LOGNAME", "jane")
    return world


def trail(w: MemoryWorld) -> list[tuple[str, str, str]]:
    return [(entry.who, entry.action, entry.subject) for entry in run(w.services.audit.newest(9))]


def test_one_function_writes_the_trail_and_each_action_is_recorded_in_one_place():
    texts = {path.relative_to(SYNC).as_posix(): path.read_text() for path in SYNC.rglob("*.py")}
    assert sorted(name for name, text in texts.items() if re.search(r"\bAuditEntry\(\n? *at=", text)) == [
        "adapters/azure/tables/audit.py",
        "operators/audit.py",
    ], "a row read back, and the one that writes"
    for action in OperatorAction:
        used = [name for name, text in texts.items() if f"OperatorAction.{action.name}" in text]
        assert len(used) == 1, (action, used)


async def test_a_pause_that_another_holds_already_is_not_recorded_again():
    w = MemoryWorld()
    await pause_projection(w.services, who="Ada", why="FHIR moves")
    await pause_projection(w.services, who="Eve", why="me too")
    await resume_projection(w.services, who="Eve")
    entries = await w.services.audit.newest(9)
    assert {(entry.who, entry.action, entry.why) for entry in entries} == {
        ("Ada", "projection.pause", "FHIR moves"),
        ("Eve", "projection.resume", ""),
    }


async def test_a_replay_has_one_name_from_http_page_and_command():
    w = MemoryWorld(operators="key")
    await w.ingest(w.put("a"))
    expected = ("Ada", "replay.begin", f"{OF_STUDY.id} study {STUDY.key}")
    await post(w, action="replay-study", uid=STUDY.study_instance_uid, who="Ada")
    w.clock.advance(1)
    await finished(cursor_of(OF_STUDY), kinds_of({}), w.services)
    body = json.dumps({"study": STUDY.study_instance_uid, "who": "Ada"}).encode()
    answer = await start_replay(HttpRequest(body=body), {"blob": None}, w.services)
    assert answer.body["begun"]
    entries = await w.services.audit.newest(9)
    assert [(entry.who, entry.action, entry.subject) for entry in entries] == [expected, expected]


def test_the_command_replay_is_recorded(w):
    run(w.ingest(w.put("a")))
    CliRunner().invoke(app, ["replay", "--study", STUDY.study_instance_uid])
    assert trail(w) == [("jane", "replay.begin", f"{OF_STUDY.id} study {STUDY.key}")]


def test_the_command_verify_is_recorded_when_it_may_write_and_only_then(w):
    CliRunner().invoke(app, ["verify", "--study", STUDY.study_instance_uid])
    assert trail(w) == []
    CliRunner().invoke(app, ["verify", "--study", STUDY.study_instance_uid, "--repair"])
    assert trail(w) == [("jane", "verify.repair", STUDY.key)]


async def _nothing() -> None:
    """Stand in for what a command does beside the audit trail."""


@pytest.mark.parametrize("given", [[], ["--as", "Ada"]])
@pytest.mark.parametrize(
    "words",
    ["backfill", "replay --study UID", "verify", "verify --study UID --repair", "export --container c-1", "where UID"],
)
def test_the_author_of_a_recorded_command_is_named_by_one_option(monkeypatch, words, given):
    world = MemoryWorld()
    run(world.ingest(world.put("a")))
    running = SimpleNamespace(
        services=world.services,
        listing=world.store.objects,
        sources=SOURCES,
        replayed={"blob": None},
        export_files=lambda _: SimpleNamespace(ensure=_nothing),
    )

    async def only_begun(*_: object, **__: object) -> None:
        raise typer.Exit

    for name in ("backfill", "export_all", "replay", "show_where", "verify_all"):
        module = importlib.import_module(f"sync.cli.{name}")
        monkeypatch.setattr(module, "with_services", lambda work, **_: asyncio.run(work(running)))
        monkeypatch.setattr(module, "share_walk", only_begun, raising=False)
    monkeypatch.setenv("LOGNAME", "jane")
    CliRunner().invoke(app, [*words.replace("UID", STUDY.study_instance_uid).split(), *given])
    assert [who for who, _, _ in trail(world)] == ["Ada" if given else "jane"]


def test_commands_take_the_name_to_record_from_that_option_alone():
    """A command that asked for the user itself had no way to record another name."""
    asking = [path.relative_to(SYNC).as_posix() for path in SYNC.rglob("*.py") if "user_name()" in path.read_text()]
    assert sorted(asking) == ["cli/commands/__init__.py", "cli/user.py"]


def test_an_acknowledgement_by_command_is_recorded_under_its_author(w):
    assert CliRunner().invoke(app, ["alerts", "acknowledge", "alert.lag"]).exit_code == 1
    assert trail(w) == [], "no such alert is active"


def test_a_user_without_a_name_does_not_stop_a_command(monkeypatch):
    def nameless() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr("getpass.getuser", nameless)
    assert user.user_name() == "command line"


@pytest.mark.parametrize(
    "same",
    [
        ReplayRequest(source="blob", study=STUDY),
        ReplayRequest(source="dicom", study=STUDY, reread=True),
    ],
)
async def test_a_replay_of_a_study_has_one_id_whatever_began_it(same):
    w = MemoryWorld()
    assert same.id == OF_STUDY.id
    assert await begin_replay(OF_STUDY, w.services, who="page")
    assert not await begin_replay(same, w.services, who="command"), "it is under way"
    assert ReplayRequest(source="blob", study=StudyRef(study_instance_uid="2.25.9")).id != OF_STUDY.id
