"""Every command that a page tells people to type exists and takes the options that it is given there."""

import ast
import re
import shlex

import pytest
from typer.main import get_command

import local.__main__ as local_world
from sync.cli import app
from tests.docs.typed import NEEDED, ROOT, strays, typed

SHELL = ("cd", "kill", "export", "eval", "set", "curl", "git", "jq")
SOURCED = (".venv/bin/activate", ".local/world.env")
PLACEHOLDER = re.compile(r"<[^>]+>|\$\(.*?\)|\$\{?\w+\}?|…")
COMMANDS = sorted({(command.page, command.line) for command in typed()})


def test_the_pages_tell_people_to_type_something():
    assert len(COMMANDS) > 120


def test_no_command_stands_where_none_is_expected():
    assert list(strays()) == [], "put it into a block of its own, ```sh"


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_what_a_page_says_to_type_can_be_typed(page, line):
    for part in re.split(r"\s*(?:\||&&|;)\s*", line):
        words = shlex.split(re.sub(r"\s\d?>\S*(\s\S+)?", "", f" {PLACEHOLDER.sub('X', part)} "))
        while words and re.fullmatch(r"[A-Za-z_]+=.*", words[0]):
            words = words[1:]
        if words:
            check(words, (ROOT / page).read_text())


HINTS = sorted(
    {
        hint
        for folder in ("sync", "local")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for hint in re.findall(r"python -m (?:sync|local)(?: [a-z][a-z-]+)+(?: --[a-z-]+)*", node.value)
    }
)


@pytest.mark.parametrize("hint", HINTS)
def test_what_the_program_itself_tells_people_to_type_exists(hint):
    _, _, module, *words = hint.split()
    command = get_command(app if module == "sync" else local_world.app)
    assert words[0] in command.commands
    while getattr(command, "commands", None) and words and words[0] in command.commands:
        command = command.commands[words.pop(0)]
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("--")} <= options | {"--help"}


def check(words, text):
    program, *rest = words
    if program == "make":
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        assert set(rest) <= targets, rest
    elif program.endswith("python") and rest[:1] == ["-m"]:
        run_module(rest[1], rest[2:])
    elif program in NEEDED:
        assert NEEDED[program] in " ".join(text.split()), f"say on the page that it takes {NEEDED[program]}"
    elif program == ".":
        assert rest[0] in SOURCED
    else:
        assert program in SHELL or (ROOT / program).exists(), f"nothing is known of {program}"


def run_module(module, arguments):
    """Parse the arguments as the program would, without running it."""
    if module == "sync":
        parse(get_command(app), "sync", arguments)
    elif module == "local":
        parse(get_command(local_world.app), "local", arguments)
    else:
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").exists() or (ROOT / module).is_dir(), module


def parse(command, name, arguments):
    while getattr(command, "commands", None) and arguments and not arguments[0].startswith("-"):
        name, command, arguments = arguments[0], command.commands[arguments[0]], arguments[1:]
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    used = {word.partition("=")[0] for word in arguments if word.startswith("-")}
    assert used <= options | {"--help"}, (name, used - options)
    if not any(parameter.param_type_name == "argument" for parameter in command.params) and not used:
        assert not arguments or getattr(command, "commands", None), (name, arguments)
