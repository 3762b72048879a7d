"""What whoever stands watch does every half minute: count on, look for unread feeds and silence, evaluate."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from sync.errors import SyncError
from sync.monitoring.alerts.evaluation import evaluate_alerts
from sync.monitoring.alerts.missing_events import find_missing_events
from sync.monitoring.alerts.unread_feeds import note_unread_feeds
from sync.monitoring.counts import store_counts
from sync.monitoring.history import Recorder
from sync.ports import AlertChannel, Notice, ObjectListing, Watch


async def watch(
    s: Watch,
    *,
    recorder: Recorder,
    channels: Mapping[str, AlertChannel],
    listing: ObjectListing,
    outside: bool = False,
) -> Sequence[Notice]:
    """
    Do all four; what fails of the first three keeps nobody from being warned. Safe to repeat and to run in any worker.

    Parameters
    ----------
    outside
        Not the app itself watches: see `evaluate_alerts`.

    Returns
    -------
    Sequence
        What was raised or cleared by this call.

    Raises
    ------
    StoreUnavailable
        Storage did not answer: nobody can be warned. Azure Monitor's own rules are for that.
    """
    for work in (store_counts(s), note_unread_feeds(s), find_missing_events(s, listing)):
        try:
            await work
        except SyncError as failure:
            s.telemetry.event("watch.hindered", logging.WARNING, code=failure.code)
    return await evaluate_alerts(s, recorder=recorder, channels=channels, outside=outside)
