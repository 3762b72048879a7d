"""docs/commands.md is what the commands say of themselves, and each teaches by example."""

import pytest
from typer.main import get_command

from sync.cli import app
from tests.docs.commands_page import PAGE, _commands, page

COMMANDS = dict(_commands("sync", get_command(app)))


def test_the_page_is_in_step_with_the_commands():
    assert PAGE.read_text() == page(), "run: python -m tests.docs.commands_page"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_teaches_by_example_and_says_its_exit_codes(name):
    text = COMMANDS[name].help
    assert "**Examples**" in text
    assert f"python -m {name}" in text
    assert "**Exit codes**" in text
    assert all(parameter.help for parameter in COMMANDS[name].params)
