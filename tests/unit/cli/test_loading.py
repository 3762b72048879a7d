"""A command's module is loaded when the command is used, and the list of commands says what the commands say."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from sync.cli import app
from sync.cli.loading import CommandPlace, lazy_group

ROOT = Path(__file__).parents[3]

COMMANDS = get_command(app).commands

# Typer itself converts values with pydantic.
_HEAVY = {
    "aiohttp",
    "azure",
    "cryptography",
    "duckdb",
    "httpx",
    "jinja2",
    "jwt",
    "pydantic_settings",
    "pydicom",
    "tenacity",
}

_MODULES_AFTER = """
import runpy, sys
sys.argv = ["sync", *sys.argv[1:]]
try:
    runpy.run_module("sync", run_name="__main__", alter_sys=True)
except SystemExit as ended:
    assert not ended.code, ended.code
sys.stderr.write("\\n".join(sorted(sys.modules)))
"""


def modules_after(*words):
    """Every module that is loaded when this command line ends."""
    asked = [sys.executable, "-c", _MODULES_AFTER, *words]
    return set(subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stderr.split("\n"))


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_list_repeats_the_first_sentence_of_the_command(name):
    assert inspect.cleandoc(COMMANDS[name].help).split("\n\n")[0].replace("\n", " ") == (COMMANDS.listed()[name].help)


@pytest.mark.parametrize(
    ("words", "own"),
    [
        (["--help"], set()),
        (["--version"], set()),
        (["status", "--help"], {"sync.cli.show_status"}),
        (["pause", "--help"], {"sync.cli.pausing"}),
    ],
)
def test_only_the_module_of_the_command_is_loaded(words, own):
    loaded = modules_after(*words)
    commands = {place.partition(":")[0] for place, *_ in COMMANDS._places.values()}
    assert commands & loaded == own
    assert _HEAVY & loaded == set()
    assert len(loaded) < 700  # 1,060 with every command; the bound is loose, for libraries grow


def test_a_name_that_no_command_has_is_answered_with_a_similar_one():
    answer = CliRunner().invoke(app, ["bakfill"])
    assert answer.exit_code == 2
    assert "backfill" in answer.output


def test_a_module_that_is_not_there_fails_only_its_own_command():
    places = {"gone": CommandPlace("sync.cli.gone:app", "Gone."), "here": CommandPlace("sync.cli.config:app", "Here.")}
    group = typer.Typer(cls=lazy_group(places), add_completion=False)
    group.callback()(lambda: None)
    listed = CliRunner().invoke(group, ["--help"])
    assert (listed.exit_code, "Gone." in listed.output) == (0, True)
    assert CliRunner().invoke(group, ["here", "--help"]).exit_code == 0
    assert isinstance(CliRunner().invoke(group, ["gone"]).exception, ModuleNotFoundError)


_INTERRUPTED = """
import sys

class Interrupt:
    def __init__(self, name):
        self.name = name

    def find_spec(self, name, path=None, target=None):
        if name == self.name:
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupt(sys.argv.pop(1)))
from sync.__main__ import run
run()
"""


@pytest.mark.parametrize("loading", ["sync.cli", "typer", "sync.cli.show_status", "rich.live"])
def test_ctrl_c_while_modules_load_ends_without_a_traceback(loading):
    asked = [sys.executable, "-c", _INTERRUPTED, loading, "status", "--help"]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
    assert "KeyboardInterrupt" not in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("dead-letters", "show", "nothing", "abc"), "'kind': 'nothing' is not one of 'object', 'study', 'message'."),
        (("dashboard", "--port", "80000"), "'--port': must be less than or equal to 65535 "),
        (("dashboard", "--port", "x"), "'--port': must be a valid integer "),
    ],
)
def test_a_wrong_value_is_refused_without_the_words_of_a_library(words, told):
    done = CliRunner().invoke(app, words, env={"COLUMNS": "200"})
    assert (done.exit_code, f"Invalid value for {told}" in done.stderr) == (2, True)
