"""``python -m sync config``: checks the settings, and whether the services grant access."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from sync.cli.connecting import reported
from sync.cli.reporting import EXIT_REJECTED, EXIT_UNAVAILABLE, console, shown
from sync.config import Settings
from sync.config.check import Remark, RemarkSeverity, remarks

if TYPE_CHECKING:
    from sync.bootstrap.connections import Connection


def check(*, connect_too: bool, as_json: bool) -> None:
    """List settings that are missing, invalid, contradictory, insecure or unknown."""
    findings = remarks()
    faulty = any(remark.severity is not RemarkSeverity.ADVICE for remark in findings)
    unusable = any(remark.severity is RemarkSeverity.WRONG for remark in findings)
    connections: list[Connection] = []
    if not as_json:
        _print(findings, skipped=connect_too and unusable)
    if connect_too and not unusable:
        connections = reported(_try_all(as_json=as_json))
    if as_json:
        _print_json(findings, connections)
    if faulty:
        raise typer.Exit(EXIT_REJECTED)
    if not all(connection.sound for connection in connections):
        raise typer.Exit(EXIT_UNAVAILABLE)


async def _try_all(*, as_json: bool) -> list[Connection]:
    """Try each service; for people, print each when it answers: a hanging service must not delay the others' lines."""
    from sync.bootstrap import connect  # noqa: PLC0415 -- Azure's clients take a second to load
    from sync.bootstrap.connections import LONGEST, tried  # noqa: PLC0415 -- as above

    running = connect(Settings.load(), command=True)
    try:
        if as_json:
            return await tried(running)
        console().print(f"trying    all services at once, for at most {LONGEST:g} s")
        return await tried(running, answered=_print_connection)
    finally:
        await running.close()


def _print(findings: Iterable[Remark], *, skipped: bool) -> None:
    out = console()
    for remark in findings:
        out.print(f"{remark.severity.value:<9} {shown(remark.setting)} {remark.text}")
    if not findings:
        out.print("sound     every setting")
    if skipped:
        out.print("          Correct these settings first: no service was tried.")


def _print_connection(connection: Connection) -> None:
    out = console()
    out.print(f"{'sound' if connection.sound else 'failing':<9} {connection.service}")
    if connection.sound and connection.detail:
        out.print(f"          {shown(connection.detail)}")
    if not connection.sound:
        out.print(f"          {connection.code}: {connection.detail}\n          {connection.hint}")


def _print_json(findings: Iterable[Remark], connections: Iterable[Connection]) -> None:
    settings = [{**asdict(remark), "severity": remark.severity.value} for remark in findings]
    typer.echo(json.dumps({"settings": settings, "connections": [asdict(connection) for connection in connections]}))
