"""Options and help of ``python -m sync verify``."""

from __future__ import annotations

from typing import Annotated

import typer

from sync.cli.commands import Who


def verify(
    *,
    study: Annotated[
        str | None, typer.Option(metavar="UID", help="Only this study, by Study Instance UID or FHIR id.")
    ] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Repair the differences.")] = False,
    sample: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Check a random sample of this many studies.")
    ] = None,
    fhir_only: Annotated[
        bool, typer.Option("--fhir-only", help="Skip the source; compare ledger and FHIR only.")
    ] = False,
    max_removals: Annotated[
        int, typer.Option(min=0, metavar="N", help="With --repair: maximum number of orphaned resources to delete.")
    ] = 10,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.01, max=10_000, help="Studies a second to compare at most, by all workers; default: no limit."
        ),
    ] = None,
    who: Who = "",
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, one object per line.")] = False,
) -> None:
    """
    Compare source, ledger and FHIR for each study, and list the differences.

    Compares each study's ledger with all resources of the study in FHIR, and each object with the source,
    and searches FHIR for duplicates and orphaned resources. Studies with pending work are skipped. Nothing is written
    without `--repair`; repairs use the ordinary path: mark the study, inspect its objects, project it.

    A comparison of everything is cut into slices, which this command and all running functions share; without a
    function app, the command works on all of them. Functions continue it after an interruption, and so does the same
    command again. `python -m sync walks` lists, pauses, resumes and cancels it. The report lists each remaining
    difference and each repair by this command, and counts the repairs by functions.

    **Kinds of drift**: missing, stale, foreign_modified, orphaned, doubled, dead_lettered, object_gone, object_changed,
    object_unseen. The summary explains each kind; docs/runbook.md has the details.

    **Examples**

    - everything: `python -m sync verify`

    - a sample of a thousand studies: `python -m sync verify --sample 1000 --fhir-only`

    - repair one study: `python -m sync verify --study 1.2.840.113619.2.55 --repair`

    - as JSON: `python -m sync verify --json | jq 'select(.event == "summary")'`

    **Exit codes**

    - 0: no drift, or with `--repair` all of it repaired

    - 1: drift remains, the study is unknown, or a configured container does not exist

    - 2: wrong usage or setting, or `--repair` while projection is held back; nothing was compared

    - 3: a service did not answer, or the comparison was paused or cancelled; completed repairs stay, repeat the command

    - 141: the reader of standard output closed it
    """
    from sync.cli import verify_all as command

    command.verify(
        study=study,
        repair=repair,
        sample=sample,
        fhir_only=fhir_only,
        max_removals=max_removals,
        rate=rate,
        who=who,
        as_json=as_json,
    )
