"""The command line and every help begin without what a command needs to run: clients of services, models, databases."""

import json
import subprocess
import sys

import pytest
from typer.main import get_command

from sync.cli import app

CLIENTS = {"azure", "aiohttp", "duckdb", "fhir", "httpx", "pydantic", "pydantic_settings", "pydicom"}
LOADED = "import sys, json, sync.cli; print(json.dumps([name for name in sys.modules if '.' not in name]))"
HELP = """
import contextlib, io, json, sys
from sync.cli import app
loaded, before = {}, set()
for command in sys.argv[1:]:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        app([command, "--help"])
    loaded[command] = [name for name in sys.modules if "." not in name and name not in before]
    before = set(sys.modules)
print(json.dumps(loaded))
"""
"""Asks for the help of commands one after the other: what one loads it loads for all that follow, too."""

NAMES = sorted(get_command(app).commands)


def said_by(code, *words):
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def loaded_by_help():
    return said_by(HELP, *NAMES)


def test_the_command_line_begins_without_the_clients_of_azure():
    assert not set(said_by(LOADED)) & CLIENTS


@pytest.mark.parametrize("command", NAMES)
def test_the_help_of_a_command_loads_no_client_and_no_models(loaded_by_help, command):
    assert not set(loaded_by_help[command]) & CLIENTS


def test_the_end_of_a_command_looks_through_nothing_that_was_loaded():
    """The interpreter collects garbage at its end, twice, for 0.2 s: what is frozen it leaves alone."""
    code = (
        "import atexit, gc, json, sys; from sync.__main__ import run\n"
        "atexit.register(lambda: sys.stderr.write(json.dumps([gc.get_freeze_count(), len(gc.get_objects())])))\n"
        "sys.argv = ['sync', '--version']; run()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    frozen, left = json.loads(done.stderr)
    assert frozen > 10_000
    assert left < 1_000
