"""``python -m sync where``: the objects of the source that hold a study, series or instance."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from sync.cli.connecting import with_services
from sync.cli.reporting import EXIT_REJECTED, EXIT_USAGE, console, quiet_broken_pipe, shown
from sync.cli.user import user_name
from sync.dicom.attributes import USABLE_UID
from sync.model import StudyRef
from sync.monitoring.source_objects import SourceObject, source_objects


def where(
    uid: Annotated[str, typer.Argument(metavar="UID", help="Study, Series or SOP Instance UID.")],
    study: Annotated[
        str | None,
        typer.Option(metavar="UID", help="Study of the series or instance; without it, the whole ledger is read."),
    ] = None,
    partition: Annotated[str, typer.Option(help="Data partition of the study, in a DICOM service that has them.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object per object.")] = False,  # noqa: FBT002 - typer
) -> None:
    """
    Show which objects hold a study, series or instance: account, container and name.

    Reads the state account, not the source. Object names may hold **patient data**, so the audit trail records who
    asked. For a study, or with `--study`, it reads one partition of the ledger; for a series or instance alone all of
    it, a thousand rows a request.

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
    if not all(USABLE_UID.fullmatch(value) for value in (uid, study) if value is not None):
        console().print("where expects a Study, Series or SOP Instance UID")
        raise typer.Exit(EXIT_USAGE)
    chosen = StudyRef(study_instance_uid=study or uid, partition=partition) if study or partition else None
    objects = with_services(lambda running: source_objects(uid, chosen, running.services, who=user_name()))
    if not objects:
        console().print("unknown   no object with this UID is known; python -m sync backfill reads all objects")
        raise typer.Exit(EXIT_REJECTED)
    with quiet_broken_pipe():
        for entry in objects:
            sys.stdout.write((json.dumps(_json(entry)) if as_json else _line(entry)) + "\n")
        sys.stdout.flush()


def _line(source: SourceObject) -> str:
    ref = source.object
    return shown(f"{source.entry.sop_instance_uid}  {'/'.join(filter(None, (ref.account, ref.container, ref.name)))}")


def _json(source: SourceObject) -> dict[str, str | None]:
    entry, ref = source.entry, source.object
    return {
        "study": entry.study.study_instance_uid,
        "partition": entry.study.partition,
        "series": entry.series_instance_uid,
        "instance": entry.sop_instance_uid,
        "account": ref.account,
        "container": ref.container,
        "name": ref.name,
        "etag": source.etag,
    }
