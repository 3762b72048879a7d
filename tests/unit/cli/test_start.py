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
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    app([*sys.argv[1:], "--help"])
print(json.dumps([name for name in sys.modules if "." not in name]))
"""


def loaded_by(code, *words):
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_the_command_line_begins_without_the_clients_of_azure():
    assert not loaded_by(LOADED) & CLIENTS


@pytest.mark.parametrize("command", sorted(get_command(app).commands))
def test_the_help_of_a_command_loads_no_client_and_no_models(command):
    assert not loaded_by(HELP, command) & CLIENTS
