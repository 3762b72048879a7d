"""Options and help of ``python -m sync pause`` and ``resume``."""

from __future__ import annotations

from sync.cli.commands import Who, Why


def pause(
    why: Why,
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
    from sync.cli import pausing as command

    command.pause(why=why, who=who)


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
    from sync.cli import pausing as command

    command.resume(who=who)
