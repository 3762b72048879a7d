"""Commands that ask no service do not wait for the clients of services to be loaded."""

import json
import subprocess
import sys

import pytest

from sync.cli import COMMANDS

CLIENTS = {"azure", "aiohttp", "fhir", "duckdb"}
LOADED = "import sys, json, sync.cli; print(json.dumps([name for name in sys.modules if '.' not in name]))"
HELP = """
import contextlib, io, json, sys
from sync.cli import app
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    app([*sys.argv[1:], "--help"])
print(json.dumps([name for name in sys.modules if "." not in name]))
"""


def loaded_by(code, *words):
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_the_command_line_begins_without_the_clients_of_azure():
    assert not loaded_by(LOADED) & CLIENTS


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_the_help_of_a_command_loads_no_client(command):
    assert not loaded_by(HELP, command) & CLIENTS


@pytest.mark.parametrize("command", ["status", "pause", "resume"])
def test_the_help_of_a_light_command_loads_no_models_of_values(command):
    assert "pydantic" not in loaded_by(HELP, command)
