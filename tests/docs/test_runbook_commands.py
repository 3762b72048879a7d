"""What the runbook tells an operator to type exists."""

import re
from pathlib import Path

from typer.main import get_command

from sync.cli import app
from tests.docs.commands_page import _commands

ROOT = Path(__file__).parents[2]
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text("utf-8")
COMMANDS = {name.removeprefix("sync ") for name, _ in _commands("sync", get_command(app))}


def test_every_command_that_the_runbook_names_exists():
    named = re.findall(r"python -m sync ((?:[a-z]+(?:-[a-z]+)*)(?: [a-z]+)?)", RUNBOOK)
    unknown = {command for command in named if command not in COMMANDS and command.split()[0] not in COMMANDS}
    assert (unknown, len(named) > 5) == (set(), True)


def test_every_option_that_the_runbook_names_exists():
    every = " ".join(
        f"{option}"
        for _, command in _commands("sync", get_command(app))
        for parameter in command.params
        for option in parameter.opts
    )
    named = set(re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", RUNBOOK))
    assert named - set(every.split()) == set()


def test_every_address_that_the_runbook_names_exists():
    routes = set(re.findall(r'route="([^"/]+(?:/[a-z]+)?)', (ROOT / "function_app.py").read_text("utf-8")))
    named = set(re.findall(r"(?:GET|POST) api/([a-z-]+(?:/[a-z]+)?)", RUNBOOK))
    assert named - routes == set()


def test_every_code_says_what_to_do_or_that_there_is_nothing_to_do():
    sections = re.findall(r"^### (\S+)\n(.*?)(?=^##|\Z)", RUNBOOK, re.MULTILINE | re.DOTALL)
    assert len(sections) > 30
    assert [code for code, text in sections if len(text.strip()) < 40] == []
