"""Options and help of ``python -m sync where``."""

from __future__ import annotations

from typing import Annotated

import typer

from sync.cli.commands import Who


def where(
    uid: Annotated[str, typer.Argument(metavar="UID", help="Study, Series or SOP Instance UID.")],
    study: Annotated[
        str | None,
        typer.Option(metavar="UID", help="Study of the series or instance; without it, the whole ledger is read."),
    ] = None,
    partition: Annotated[str, typer.Option(help="Data partition of the study, in a DICOM service that has them.")] = "",
    who: Who = "",
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object per object.")] = False,  # noqa: FBT002 - typer
) -> None:
    """
    Show which objects hold a study, series or instance: account, container and name.

    Reads the state account, not the source. Object names may hold **patient data**, so the audit trail records who
    asked. For a study, or with `--study`, it reads one partition of the ledger; for a series or instance alone all of
    it, a thousand rows per request.

    **Examples**

    - the objects of a study: `python -m sync where 1.2.840.113619.2.55`

    - one series or instance, fast: `python -m sync where UID --study UID`

    - for a script: `python -m sync where UID --json | jq -r .name`

    **Exit codes**

    - 0: found

    - 1: no object with this UID is known; `python -m sync backfill` reads all objects

    - 2: wrong usage or setting

    - 3: the state account did not answer

    - 141: the reader of standard output closed it
    """
    from sync.cli import show_where as command

    command.where(uid=uid, study=study, partition=partition, who=who, as_json=as_json)
