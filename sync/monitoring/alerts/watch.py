"""One round of the watch, every 30 seconds: count, look for unread feeds and missing events, evaluate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from sync.errors import SyncError
from sync.monitoring.alerts.evaluation import evaluate_alerts
from sync.monitoring.alerts.missing_events import find_missing_events
from sync.monitoring.alerts.unread_feeds import note_unread_feeds
from sync.monitoring.counts import store_counts
from sync.monitoring.history import Recorder
from sync.monitoring.timers import Phase, run_phases
from sync.ports import AlertChannel, Notice, ObjectListing, Watch

TIMER = "evaluate_alerts"


async def watch(
    s: Watch,
    *,
    recorder: Recorder,
    channels: Mapping[str, AlertChannel],
    listing: ObjectListing,
    outside: bool = False,
) -> Sequence[Notice]:
    """
    Do all four; a failure of the first three does not prevent alerts. Idempotent and safe to run in any worker.

    Parameters
    ----------
    outside
        A process other than the app watches: see `evaluate_alerts`.

    Returns
    -------
    Sequence
        Notices of the alerts that this call raised or cleared.

    Raises
    ------
    StoreUnavailable
        Storage did not answer: no alert can be sent. Azure Monitor's own rules cover this case.
    """
    phases = (
        Phase(name="counts", work=lambda: store_counts(s)),
        Phase(name="unread_feeds", work=lambda: note_unread_feeds(s)),
        Phase(name="missing_events", work=lambda: find_missing_events(s, listing)),
    )
    with suppress(SyncError):  # logged and measured; it must not keep the alerts from being evaluated
        await run_phases(TIMER, phases, s)
    notices: list[Notice] = []

    async def evaluate() -> None:
        notices.extend(await evaluate_alerts(s, recorder=recorder, channels=channels, outside=outside))

    await run_phases(TIMER, (Phase(name="evaluation", work=evaluate),), s)
    return notices
