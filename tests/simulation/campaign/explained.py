"""Mutants that no test has to kill, and why: what they change is no rule."""

from __future__ import annotations

EXPLAINED: dict[str, str] = {
    "sync.delivery.backoff: _delay: 1.0 in `0.0`": "a second is less than the first backoff, so it changes no delay",
    "sync.feeds.orthanc: batches: 2 in `1`": (
        "remembers the instances of one more page, so that fewer are inspected twice: either is right"
    ),
    "sync.projection.patient: _find_theirs: swap and/or in `claim.value is None or claim.system is None`": (
        "a claim has both, value and system, or neither: see sync.mapping.patient"
    ),
    "sync.walks.inline_projection: _give_up_in_time: swap the comparison in "
    "`time.monotonic() - self._last_success > PATIENCE`": "the two differ at one instant of a clock of nanoseconds",
    "sync.walks.walk: hold: drop the statement in `continue`": "it is the last statement of its loop",
    "sync.walks.walk: run_walk: swap the comparison in `time.monotonic() >= until`": (
        "the two differ at one instant of a clock of nanoseconds"
    ),
    "sync.protocol.dirty_studies: read_dirty_study: True in `False`": (
        "a study that was not marked waits for one more quiet period: later, but right"
    ),
}
"""By ``Mutation.key``."""
