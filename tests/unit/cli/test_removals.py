"""Held removals from the terminal: a decision may be of those that were shown, and of none held later."""

import asyncio
import json

import pytest
from typer.testing import CliRunner

from sync.cli import app, removals
from sync.protocol.removals import FEW
from tests.held_removals import MANY, World
from tests.unit.cli.in_process import runs_on
from tests.worlds import SOURCES


@pytest.fixture
def world(monkeypatch):
    made = World()
    runs_on(monkeypatch, removals, services=made.services, sources=SOURCES)
    return made


def typed(*words):
    return CliRunner().invoke(app, ["removals", *words])


@pytest.mark.parametrize("decision", ["confirm", "refuse"])
def test_a_decision_is_of_the_removals_that_were_shown(world, decision):
    asyncio.run(world.fill(MANY + 1))
    asyncio.run(world.lose())
    told = typed("show").output
    until = told.split("--until ")[1].strip()
    assert json.loads(typed("show", "--json").output)["until"] == until
    world.clock.advance(1)
    asyncio.run(world.lose(MANY + 1, first=MANY))
    assert f": {MANY - FEW} " in typed(decision, "--why", "as ordered", "--until", until).output


@pytest.mark.parametrize("decision", ["confirm", "refuse"])
def test_a_decision_without_a_time_is_of_all_that_are_held(world, decision):
    asyncio.run(world.fill())
    asyncio.run(world.lose())
    assert f": {MANY - FEW} " in typed(decision, "--why", "as ordered").output


def test_where_nothing_is_held_there_is_nothing_to_decide(world):
    assert "--until" not in typed("show").output


def test_a_time_that_is_none_is_wrong_usage(world):
    told = typed("confirm", "--why", "as ordered", "--until", "yesterday")
    assert (told.exit_code, "--until: expected a time" in told.stderr) == (2, True)
