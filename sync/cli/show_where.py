"""``python -m sync where``: the objects of the source that hold a study, series or instance."""

from __future__ import annotations

import json
import sys

import typer

from sync.cli.connecting import with_services
from sync.cli.reporting import EXIT_REJECTED, EXIT_USAGE, console, quiet_broken_pipe, shown
from sync.dicom.attributes import USABLE_UID
from sync.model import StudyRef
from sync.monitoring.source_objects import SourceObject, source_objects


def where(*, uid: str, study: str | None, partition: str, who: str, as_json: bool) -> None:
    """Show which objects hold a study, series or instance: account, container and name."""
    if not all(USABLE_UID.fullmatch(value) for value in (uid, study) if value is not None):
        console().print("where expects a Study, Series or SOP Instance UID")
        raise typer.Exit(EXIT_USAGE)
    chosen = StudyRef(study_instance_uid=study or uid, partition=partition) if study or partition else None
    objects = with_services(lambda running: source_objects(uid, chosen, running.services, who=who))
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
