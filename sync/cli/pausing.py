"""``pause`` and ``resume``: hold projection back while a FHIR service is moved, restored or investigated."""

from __future__ import annotations

from typing import Annotated

import typer

from sync.cli.connecting import with_services
from sync.cli.reporting import console
from sync.cli.user import user_name

Who = Annotated[str, typer.Option("--as", help="Name to record; default: your user name.")]


def pause(
    why: Annotated[str, typer.Option("--why", help="Reason for the audit trail; no patient data.")],
    who: Who = "",
) -> None:
    """
    Pause projection: nothing is written to FHIR until `resume`. Idempotent.

    Objects are still ingested and studies wait, so nothing is lost. Writes in progress are finished. `status` and the
    dashboard show the pause with its reason.

    **Examples**

    - before the FHIR service is restored: `python -m sync pause --why "restore of March 1"`

    **Exit codes**

    - 0: projection is paused

    - 2: wrong usage or setting

    - 3: the state account did not answer
    """
    from sync.operators.pause import pause_projection  # noqa: PLC0415 -- --help need not wait for the models of state

    paused = with_services(lambda running: pause_projection(running.services, who=who or user_name(), why=why))
    by = f" by {paused.who}" if paused.who else ""
    console().print(f"projection is paused since {paused.since:%Y-%m-%d %H:%M} UTC{by}: {paused.why}", markup=False)


def resume(who: Who = "") -> None:
    """
    Resume projection after `pause`. Idempotent.

    The next sweep, within 30 seconds, enqueues every study that waits.

    **Examples**

    - afterwards: `python -m sync resume`

    **Exit codes**

    - 0: projection is not paused

    - 2: wrong usage or setting

    - 3: the state account did not answer
    """
    from sync.operators.pause import resume_projection  # noqa: PLC0415 -- as above

    with_services(lambda running: resume_projection(running.services, who=who or user_name()))
    console().print("projection is resumed")
