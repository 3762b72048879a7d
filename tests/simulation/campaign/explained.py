"""Mutants that no test has to kill, and why: what they change is no rule."""

from __future__ import annotations

EXPLAINED: dict[str, str] = {
    "sync.delivery.backoff: _delay: 1.0 in `0.0`": "a second is less than the first backoff, so it changes no delay",
    "sync.protocol.dirty_studies: read_dirty_study: True in `False`": (
        "a study that was not marked waits for one more quiet period: later, but right"
    ),
}
"""By ``Mutation.key``."""
