"""
Commands of packages beside `sync`, which it does not import: they are named here and found when the process starts.

A package that is not there, as in a function app, adds none (ADR 0034).
"""

from __future__ import annotations

import importlib
import importlib.util

from sync.cli.loading import CommandPlace

PACKAGES = ("insights",)
"""Packages with a module `cli` whose ``COMMANDS`` gives, by name, the fields of a `CommandPlace`."""


def added_commands() -> dict[str, CommandPlace]:
    """Return the commands of every package that is there."""
    return {
        name: CommandPlace(*place)
        for package in PACKAGES
        if importlib.util.find_spec(package) is not None
        for name, place in importlib.import_module(f"{package}.cli").COMMANDS.items()
    }
