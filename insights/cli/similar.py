"""``python -m sync similar``: how patients similar to one were treated, and how they fared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from insights.cli.options import DataFolder, Overwrite
from insights.cli.reporting import command, console


@command
def similar(
    patient: Annotated[str, typer.Argument(metavar="PATIENT", help="Id of the Patient in FHIR.", show_default=False)],
    *,
    rule: Annotated[Path, typer.Option(metavar="FILE", help="The rule: who is similar, YAML.", show_default=False)],
    data: DataFolder = Path("data"),
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the results too: text, rows and a drawing.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write the result as JSON to standard output.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """
    Show how patients similar to one were treated, and their outcomes.

    The rule defines similarity, criterion by criterion, without weights. Output: the funnel, Kaplan-Meier curves with
    intervals and numbers at risk, the log-rank test, and the balance of the groups. No row about a person is written,
    groups below `DICOM_SYNC_MINIMUM_CELL` (11) are pooled, and each query is audited. The result is not causal. How to
    write a rule: docs/similar.md.

    **Examples**

    - `python -m sync similar PATIENT --rule docs/examples/lung.yaml --data data`

    **Exit codes**

    - 0: the curves are shown

    - 1: too few similar people are followed; the funnel is shown, no curve

    - 2: the rule, the data or a setting is invalid, or the patient is unknown; nothing was written
    """
    from insights.errors import Withheld  # noqa: PLC0415 -- loaded when the command runs
    from insights.settings import InsightsSettings  # noqa: PLC0415
    from insights.similar.report import as_json as for_programs  # noqa: PLC0415
    from insights.similar.report import summary  # noqa: PLC0415
    from insights.similar.run import Asked, run  # noqa: PLC0415

    asked = Asked(patient, rule, data, InsightsSettings.load().minimum_cell)
    told = run(asked, out=out, overwrite=overwrite)
    typer.echo(json.dumps(for_programs(told), sort_keys=True) if as_json else summary(told))
    if out is not None:
        console().print(f"written to {out}")
    if told.outcomes is None:
        hint = "Widen the rule, one caliper at a time: the funnel tells where people are lost."
        message = f"fewer than {asked.minimum} similar people are followed"
        raise Withheld(message, code="similar.too_few", hint=hint)
