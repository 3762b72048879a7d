"""
A group of commands that imports the module of a command when the command is used, not when the process starts.

``--help`` of the group lists names and summaries from the table alone. A name typed on the command line, shell
completion of its options, and a loop over all commands import what they ask for.

Source: Click, "Complex Applications", "Defining the Lazy Group".
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command


class CommandPlace(NamedTuple):
    """The place of a command's code, and the command's line in the list of commands."""

    target: str
    """``module:attribute``, as entry points are written: a function, or a `typer.Typer` with commands of its own."""
    summary: str
    """First sentence of the command's help, word for word."""
    no_args_is_help: bool = False
    """Without an argument a function's command shows its help; a group always does."""


class LoadedWhenUsed(MutableMapping[str, Any]):
    """Commands by name, in the order of the table; reading one imports its module, once."""

    def __init__(self, places: Mapping[str, CommandPlace], markup: Any) -> None:
        self._places = dict(places)
        self._markup = markup
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded[name] = _load(name, self._places[name], self._markup)
        return self._loaded[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._places.setdefault(name, CommandPlace("", command.help or ""))
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self._places[name]
        self._loaded.pop(name, None)

    def __contains__(self, name: object) -> bool:
        return name in self._places  # the inherited one would load the command

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def listed(self) -> dict[str, Any]:
        """Return commands with name and summary only, for the list in the group's help. Imports nothing."""
        return {name: TyperCommand(name, help=place.summary) for name, place in self._places.items()}


class LazyGroup(TyperGroup):
    """A group over `LoadedWhenUsed`; subclasses say which commands, see `lazy_group`."""

    places: Mapping[str, CommandPlace] = {}

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        commands = LoadedWhenUsed(self.places, self.rich_markup_mode)
        commands.update(self.commands)
        self.commands = commands
        _hide_flag_types(self)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the options of the group; one that is not given is not converted."""
        for parameter in self.params:
            _convert_when_given(parameter)
        rest: list[str] = super().parse_args(ctx, args)
        return rest

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names, in the order of the table."""
        del ctx
        return list(self.commands)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Return the names that begin so, with summaries from the table; no command's module is imported."""
        commands = self.commands
        assert isinstance(commands, LoadedWhenUsed)
        self.commands = commands.listed()
        try:
            return super().shell_complete(ctx, incomplete)
        finally:
            self.commands = commands

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help, with summaries from the table."""
        _hide_types_of(self.params)  # those that Typer added meanwhile
        commands = self.commands
        assert isinstance(commands, LoadedWhenUsed)
        self.commands = commands.listed()
        try:
            super().format_help(ctx, formatter)
        finally:
            self.commands = commands


def lazy_group(commands: Mapping[str, CommandPlace]) -> type[LazyGroup]:
    """Return the class of a group of these commands, for `typer.Typer`'s ``cls``."""
    return type("_LazyGroup", (LazyGroup,), {"places": commands})


def _load(name: str, place: CommandPlace, markup: Any) -> Any:
    module, _, attribute = place.target.partition(":")
    loaded = getattr(importlib.import_module(module), attribute)
    if not isinstance(loaded, typer.Typer):
        alone = typer.Typer(add_completion=False, rich_markup_mode=markup)
        alone.command(name, no_args_is_help=place.no_args_is_help)(loaded)
        return _without_flag_types(get_command(alone))
    # a parent passes its markup to the groups below it, as `typer.Typer.add_typer` does
    around = typer.Typer(add_completion=False, rich_markup_mode=markup)
    around.add_typer(loaded, name=name)
    return _without_flag_types(get_command(around).commands[name])  # type: ignore[attr-defined]  # it is a group


class _WhenGiven:
    """Converts the value of an option; for one that is not given there is nothing to convert, and nothing to load."""

    def __init__(self, parameter: Any) -> None:
        self._parameter = parameter

    def coerce(self, value: Any, *, param: Any, ctx: Any) -> Any:
        """Return the value as its type; None for None."""
        if value is None:
            return None
        return type(self._parameter).get_runtime_param(self._parameter).coerce(value, param=param, ctx=ctx)


def _convert_when_given(parameter: Any) -> None:
    """Spare an option the models by which Typer converts: a quarter of what a command's ``--help`` takes."""
    if parameter.nargs == 1 and not parameter.multiple and hasattr(parameter, "get_runtime_param"):
        parameter.get_runtime_param = lambda: _WhenGiven(parameter)


_COMPLETION = frozenset({"install_completion", "show_completion"})
"""Options that Typer adds, which take no value either."""


def _hide_flag_types(command: Any) -> None:
    help_option = command.get_help_option

    def quiet_help_option(ctx: Any) -> Any:
        option = help_option(ctx)
        if option is not None:
            option.metavar = ""
            _convert_when_given(option)
        return option

    command.get_help_option = quiet_help_option
    _hide_types_of(command.params)


def _hide_types_of(parameters: Iterable[Any]) -> None:
    for parameter in parameters:
        if getattr(parameter, "is_flag", False) or parameter.name in _COMPLETION:
            parameter.metavar = ""


def _refuse_plainly(command: Any) -> None:
    parse = command.parse_args

    def parse_args(ctx: Any, args: list[str]) -> Any:
        try:
            return parse(ctx, args)
        except typer.BadParameter as refusal:  # Typer passes on the words of the library that it converts by
            words = refusal.message.removeprefix("Value error, ").replace("Input should be", "must be")
            refusal.message = words.partition(", unable to parse")[0]
            raise

    command.parse_args = parse_args


def _without_flag_types(command: Any) -> Any:
    """Leave out ``<bool>`` in the help of a flag, which takes no value, and a library's words in a refusal."""
    _hide_flag_types(command)
    _refuse_plainly(command)
    for below in getattr(command, "commands", {}).values():
        _without_flag_types(below)
    return command
