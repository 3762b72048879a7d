"""A command's module is loaded when the command is used, and the list of commands says what the commands say."""

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from sync.cli import app
from sync.cli.commands import alerts
from sync.cli.commands import dead_letters as options
from sync.cli.loading import CommandPlace, lazy_group
from sync.config import EVALUATED_EVERY
from sync.model import SubjectKind

ROOT = Path(__file__).parents[3]

COMMANDS = get_command(app).commands

_HEAVY = {
    "aiohttp",
    "azure",
    "cryptography",
    "duckdb",
    "httpx",
    "jinja2",
    "jwt",
    "pydantic",
    "pydantic_settings",
    "pydicom",
    "tenacity",
}

_SHARED = {
    "sync",
    "sync.cli",
    "sync.cli.commands",
    "sync.cli.env_file",
    "sync.cli.loading",
    "sync.cli.plugins",
    "sync.telemetry",
    "sync.telemetry.library_logs",
}
"""Modules of ours that every command line loads."""

_MODULES_AFTER = """
import json, os, runpy, sys, typer, typer.rich_utils

told = {}
for line in json.loads(sys.argv[1]):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.argv = ["sync", *line.split()]
        try:
            runpy.run_module("sync", run_name="__main__", alter_sys=True)
        except SystemExit as ended:
            assert not ended.code, ended.code
        with open(write, "w") as told_to:
            told_to.write("\\n".join(sorted(sys.modules)))
        os._exit(0)
    os.close(write)
    with open(read) as told_by:
        told[line] = told_by.read().split("\\n")
    os.waitpid(child, 0)
print(json.dumps(told))
"""
"""Runs each command line in a process of its own, which has the library of command lines and nothing of ours."""


def modules_after(*lines):
    """Every module that is loaded when each of these command lines ends, by command line."""
    asked = [sys.executable, "-c", _MODULES_AFTER, json.dumps(lines)]
    told = json.loads(subprocess.run(asked, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout)
    return {line: set(modules) for line, modules in told.items()}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_list_repeats_the_first_sentence_of_the_command(name):
    assert inspect.cleandoc(COMMANDS[name].help).split("\n\n")[0].replace("\n", " ") == (COMMANDS.listed()[name].help)


def _commands(commands, before=()):
    """Every command line that has a help of its own, at any depth."""
    for name in commands:
        yield [*before, name]
        yield from _commands(getattr(commands[name], "commands", {}), [*before, name])


ALL = list(_commands(COMMANDS))
OURS = [words for words in ALL if COMMANDS._places[words[0]].target.startswith("sync.")]


@pytest.fixture(scope="module")
def loaded_by():
    """Modules by command line: all of ours ask for help."""
    return modules_after("--help", "--version", *(f"{' '.join(words)} --help" for words in OURS))


@pytest.mark.parametrize("line", ["--help", "--version"])
def test_the_list_loads_no_command(loaded_by, line):
    loaded = loaded_by[line]
    assert "sync.cli" in loaded
    assert [name for name in loaded if name.startswith("sync.cli.commands.")] == []
    assert _HEAVY & loaded == set()


def test_every_command_is_found():
    assert {("status",), ("walks", "pause"), ("dead-letters", "show"), ("config", "check")} < set(map(tuple, OURS))
    assert len(OURS) > 25


@pytest.mark.parametrize("words", OURS, ids=" ".join)
def test_the_help_of_a_command_loads_its_options_alone(loaded_by, words):
    """Neither what the command does, nor values, nor settings: they took a second of CPU before the first line."""
    loaded = loaded_by[f"{' '.join(words)} --help"]
    own = COMMANDS._places[words[0]].target.partition(":")[0]
    ours = {name for name in loaded if name.partition(".")[0] == "sync"}
    assert ours == {*_SHARED, own}
    assert _HEAVY & loaded == set()
    assert len(loaded) < 600  # the bound is loose, for libraries grow


def test_constants_of_options_are_those_of_what_the_commands_do():
    assert [kind.value for kind in options.SubjectKind] == [kind.value for kind in SubjectKind]
    assert alerts.EVALUATED_EVERY == EVALUATED_EVERY


def test_a_name_that_no_command_has_is_answered_with_a_similar_one():
    answer = CliRunner().invoke(app, ["bakfill"])
    assert answer.exit_code == 2
    assert "backfill" in answer.output


def test_a_module_that_is_not_there_fails_only_its_own_command():
    places = {
        "gone": CommandPlace("sync.cli.gone:app", "Gone."),
        "here": CommandPlace("sync.cli.commands.config:app", "Here."),
    }
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


@pytest.mark.parametrize("loading", ["sync.cli", "typer", "sync.cli.commands.status", "rich.markdown"])
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
        (("backfill", "--rate", "inf"), "'--rate': must be less than or equal to 10000 "),
        (("replay", "--rate", "0.001"), "'--rate': must be greater than or equal to 0.01 "),
        (("verify", "--rate", "1e308"), "'--rate': must be less than or equal to 10000 "),
    ],
)
def test_a_wrong_value_is_refused_without_the_words_of_a_library(words, told):
    done = CliRunner().invoke(app, words, env={"COLUMNS": "200"})
    assert (done.exit_code, f"Invalid value for {told}" in done.stderr) == (2, True)
