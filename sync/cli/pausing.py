"""``pause`` and ``resume``: hold projection back while a FHIR service is moved, restored or investigated."""

from __future__ import annotations

from sync.cli.connecting import with_services
from sync.cli.reporting import console
from sync.operators.pause import pause_projection, resume_projection


def pause(*, why: str, who: str) -> None:
    """Pause projection: nothing is written to FHIR until `resume`. Idempotent."""
    paused = with_services(lambda running: pause_projection(running.services, who=who, why=why))
    by = f" by {paused.who}" if paused.who else ""
    console().print(f"projection is paused since {paused.since:%Y-%m-%d %H:%M} UTC{by}: {paused.why}", markup=False)


def resume(*, who: str) -> None:
    """Resume projection after `pause`. Idempotent."""
    with_services(lambda running: resume_projection(running.services, who=who))
    console().print("projection is resumed")
