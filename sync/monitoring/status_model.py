"""The status as values and as JSON: `sync.monitoring.status` builds it; pages, commands and scripts show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import TypeAdapter

from sync.model import LastRound
from sync.model.timestamps import Timestamp
from sync.monitoring.feed_states import FeedState

RECENT = 5
"""Minutes over which throughput and latency are reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """
    The verdict, and why: one sentence each, the worst first.

    Failing: a critical alert is active, or the timers do not run. Behind: studies or messages wait longer than quiet
    periods explain, or a service that they wait for fails. Attention: nothing waits, but an alert is active that an
    operator should inspect, or one is about to be cleared; or our clock is wrong.
    """

    verdict: Literal["in sync", "attention", "behind", "failing"]
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDrift:
    """
    Open drift: differences that a check reported and no later check has seen repaired, by kind.

    ``last_round`` is the last complete comparison; None before the first one.
    """

    open: int
    by_kind: Mapping[str, int]
    last_round: LastRound | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """Lag in seconds: age of the oldest dirty study and of each queue's oldest message; time since a feed was read."""

    oldest_study: float
    queues: Mapping[str, float]
    feeds: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recent:
    """Throughput and latency of the last ``minutes``, of all workers; latencies in seconds, None without a sample."""

    minutes: int
    objects: int
    studies_written: int
    latency_median: float | None
    latency_95: float | None
    fhir_requests: int
    fhir_seconds_mean: float | None
    fhir_throttled: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveAlert:
    """An alert that is active, and who acknowledged it."""

    code: str
    severity: str
    title: str
    hint: str
    value: float
    raised_at: Timestamp | None
    acknowledged_by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceProblem:
    """
    A service that fails now: its name and address, the error, since when, and the remedy.

    ``address`` is the configured one, empty if several are configured and the failing one is unknown. ``since`` is the
    start of the minute of its first failure, as far back as `RECENT` minutes and active alerts reach.
    """

    service: str
    address: str
    code: str
    since: Timestamp
    hint: str

    def says(self) -> str:
        """Return the problem in one sentence."""
        where = f" at {self.address}" if self.address else ""
        return f"{self.service}{where} fails since {self.since:%H:%M} UTC: {self.code}. {self.hint}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PausedProjection:
    """The pause of projection: its start, its author and its reason."""

    since: Timestamp
    who: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkStatus:
    """
    A walk (replay, backfill, comparison or export) that runs or is paused, with the progress of all its workers.

    ``share`` is between 0 and 1; ``share`` and ``seconds_left`` are None while the size of the walk is unknown.
    """

    id: str
    kind: str
    state: str
    share: float | None
    seconds_left: float | None
    workers: int
    counts: Mapping[str, int]

    def says(self) -> str:
        """Return the progress of the walk in one line."""
        share = f"{self.share:.0%}" if self.share is not None else f"{sum(self.counts.values()):,} so far"
        left = f", about {self.seconds_left:,.0f} s left" if self.seconds_left is not None else ""
        return f"{self.state}, {share}{left}, {self.workers} at work"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """
    Status of the sync: the verdict with its reasons, the outstanding work, counts, alerts, feeds and walks.

    ``idle``: no study is dirty, and the queues hold no message but calls for workers. ``queued``: messages of all our
    queues, invisible ones included. ``synced_studies`` and ``synced_instances``: number in FHIR now.
    ``held_removals``: removals beyond the ceiling that wait for an operator. ``counted_at``: time of the counts; None
    if all counts are exact, as they are up to a thousand rows of a table.
    """

    idle: bool
    dirty_studies: int
    queued: int
    queues: Mapping[str, int]
    synced_studies: int
    synced_instances: int
    dead_letters: int
    feeds: Mapping[str, FeedState]
    drift: OpenDrift
    held_removals: int
    at: Timestamp
    health: Health
    lag: Lag
    recent: Recent
    dead_letters_by_code: Mapping[str, int]
    alerts: Sequence[ActiveAlert]
    counted_at: Timestamp | None
    paused: PausedProjection | None
    problems: Sequence[ServiceProblem] = ()
    walks: Sequence[WalkStatus] = ()


_JSON = TypeAdapter(Status)


def as_json(status: Status) -> dict[str, Any]:
    """Return the status as ``GET api/status`` and ``status --json`` tell it."""
    body: dict[str, Any] = _JSON.dump_python(status, mode="json")
    return {**body, "feeds": {name: state.as_json() for name, state in status.feeds.items()}}
