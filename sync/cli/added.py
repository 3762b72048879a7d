"""
Commands of packages beside `sync`, which it does not import: they are named here and found when the process starts.

A package that is not there, as in a function app, adds none (ADR 0034).
"""

from __future__ import annotations

import importlib
import importlib.util

import typer

PACKAGES = ("insights",)
"""Packages with a module `cli` that has `add_commands(app)`."""


def add_commands(app: typer.Typer) -> None:
    """Add the commands of every package that is there."""
    for package in PACKAGES:
        if importlib.util.find_spec(package) is not None:
            importlib.import_module(f"{package}.cli").add_commands(app)
