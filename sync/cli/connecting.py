"""Shared by commands that need services: settings in, services out, closed at the end, failures as exit codes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from sync.cli.reporting import EXIT_UNAVAILABLE, EXIT_USAGE, console
from sync.errors import ConfigError, SyncError

if TYPE_CHECKING:
    from sync.bootstrap import Running

T = TypeVar("T")

UNSET = """
Settings come from the environment, or from a file by --env-file; those of the local world by: . .local/world.env"""
"""Hint for a missing setting: in a new terminal all of them are missing."""


def with_services(work: Callable[[Running], Awaitable[T]], *, writes_fhir: bool = False) -> T:
    """
    Run ``work`` with the services that the environment names, and close them.

    Parameters
    ----------
    writes_fhir
        Whether the command relies on FHIR's answers or writes to FHIR. Then it first checks that the address is a FHIR
        service: at a wrong address every study would look missing, or be refused for good.

    Raises
    ------
    typer.Exit
        As `reported` says.
    """
    from sync.bootstrap import start  # noqa: PLC0415 -- Azure's clients take long to load; --help need not wait
    from sync.config import Settings  # noqa: PLC0415 -- as do the models of settings

    async def connected() -> T:
        running = await start(Settings.load(), command=True)
        try:
            if writes_fhir:
                await running.capabilities()
            return await work(running)
        finally:
            await running.close()

    return reported(connected())


def reported(work: Coroutine[Any, Any, T]) -> T:
    """
    Run ``work`` to its end, and turn its errors into words and an exit code.

    Raises
    ------
    typer.Exit
        With `EXIT_USAGE` when a setting is wrong, with `EXIT_UNAVAILABLE` when a service does not answer; standard
        error says what is wrong and what to do.
    """
    try:
        return asyncio.run(work)
    except ConfigError as problem:
        console().print(f"{problem}{UNSET if problem.expected.startswith('is missing') else ''}")
        raise typer.Exit(EXIT_USAGE) from None
    except SyncError as failure:
        console().print(f"{failure}{_where(failure)}\n{failure.hint}")
        raise typer.Exit(EXIT_UNAVAILABLE) from None


def _where(failure: SyncError) -> str:
    """Return the address of the service that failed. The settings are valid: without them no service is called."""
    from sync.config import Settings, address_of  # noqa: PLC0415 -- as above

    address = address_of(failure.code or "", Settings.load())
    return f" ({address})" if address else ""
