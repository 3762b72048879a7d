"""
The jobs of the timers: how often each is due, and its phases, which fail separately.

    function `tick`, every 30 s  ->  sweep, walks, comparison, undelivered events, measurements
    function `read_feeds`, every 5 s  ->  the DICOM service's change feed, Orthanc

The watch, `evaluate_alerts`, is a separate function, so that it can report a tick that has stopped (ADR 0049). A job's
modules are imported when a process first requests the jobs, never in a process that only ingests (ADR 0043).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from sync.bootstrap.wiring import Running
from sync.monitoring.ticks import LONGEST_TICK, Job
from sync.monitoring.timers import Phase, Work


def repairs(running: Running) -> Sequence[Job]:
    """Return the jobs of `tick`."""
    from sync.dead_letters.self_retry import retry_passing
    from sync.delivery import handlers, lost_messages
    from sync.delivery.undelivered_events import recover_if_any
    from sync.monitoring import history
    from sync.protocol.attempts import forget_buried
    from sync.verify.reconcile import reconcile
    from sync.walks import tending

    s, sources = running.services, running.sources
    return (
        _job(
            "sweep",
            30,
            studies=partial(handlers.sweep, s),
            objects=partial(lost_messages.enqueue_lost_objects, s, s.queues, running.listing),
            dead_letters=partial(retry_passing, sources, s),
        ),
        _job("tend_walks", 30, walks=partial(tending.tend_walks, running.kinds, s, seconds=tending.TENDING)),
        _job("reconcile", 60, slice=partial(reconcile, s, running.listing)),
        _job("recover_undelivered_events", 300, undelivered_events=partial(recover_if_any, running.lost, sources, s)),
        _job("compact_metrics", 300, metrics=partial(history.compact_metrics, s), attempts=partial(forget_buried, s)),
    )


def feeds(running: Running) -> Sequence[Job]:
    """Return the jobs of `read_feeds`, for the configured feeds."""
    from sync.feeds import read_dicom_feed, read_orthanc_feed
    from sync.feeds.reader import BUDGET

    s = running.services
    least = BUDGET + 10
    jobs = []
    if s.dicom_feed is not None:
        jobs.append(_job("read_dicom_feed", 5, least=least, dicom_feed=partial(read_dicom_feed, s)))
    if s.orthanc is not None:
        jobs.append(_job("read_orthanc_feed", 5, least=least, orthanc_feed=partial(read_orthanc_feed, s)))
    return jobs


def _job(timer: str, every: float, *, least: float = 60.0, **phases: Work) -> Job:
    named = [Phase(name=name, work=work, seconds=LONGEST_TICK) for name, work in phases.items()]
    return Job(timer=timer, every=every, phases=named, least=least)
