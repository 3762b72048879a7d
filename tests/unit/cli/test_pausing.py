"""Pause and resume from the terminal: the same act as the button, recorded under the same name."""

import asyncio

import pytest
from typer.testing import CliRunner

from sync.cli import app, pausing
from sync.monitoring.status import status
from tests.unit.cli.in_process import runs_on
from tests.worlds import MemoryWorld


@pytest.fixture
def world(monkeypatch):
    made = MemoryWorld()
    runs_on(monkeypatch, pausing, services=made.services)
    return made


def typed(*words):
    return CliRunner().invoke(app, list(words))


def test_a_pause_is_told_by_the_status_until_it_is_resumed(world):
    assert typed("pause", "--why", "restore", "--as", "ada").exit_code == 0
    told = asyncio.run(status(world.services))
    assert told["health"]["verdict"] == "attention", "nothing waits for its end"
    assert told["health"]["reasons"][0].endswith("by ada: restore. To continue: python -m sync resume.")
    assert (told["paused"]["who"], told["paused"]["why"]) == ("ada", "restore")
    assert typed("resume", "--as", "ada").exit_code == 0
    told = asyncio.run(status(world.services))
    assert (told["health"]["verdict"], told["paused"]) == ("in sync", None)


def test_both_are_recorded_with_their_author(world):
    typed("pause", "--why", "restore", "--as", "ada")
    typed("resume", "--as", "eve")
    recorded = asyncio.run(world.services.audit.newest(10))
    assert {(entry.action, entry.who) for entry in recorded} == {
        ("projection.pause", "ada"),
        ("projection.resume", "eve"),
    }


def test_a_pause_needs_a_reason(world):
    assert typed("pause").exit_code == 2
