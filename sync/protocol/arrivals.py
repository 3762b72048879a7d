"""
Computes how long a study waits for its next object from the rate at which its objects arrive.

Each mark writes into the dirty row the longest gap that this process saw between the study's last objects. A study that
receives hundreds of instances a second is complete when a second passes without one; an acquisition with an image every
second may only be pausing. No rule depends on the gap, only the delay and the number of FHIR writes. With many
processes, each sees only some of the objects and hence longer gaps, so the study waits longer, up to the quiet period.
"""

from __future__ import annotations

from sync.model import DirtyStudy
from sync.ports import Core

GAPS = 5
"""A study waits for this many times its longest gap. By default, a gap as long as the shortest quiet period makes it
wait the whole quiet period."""


def shortest_quiet_period(s: Core) -> float:
    """Return the minimum seconds that a study waits: the setting, unless the quiet period itself is shorter."""
    return min(s.settings.shortest_quiet_period_seconds, s.settings.quiet_period)


def quiet_period(dirty: DirtyStudy, s: Core) -> float:
    """Return the seconds without a new object after which a study that is not in FHIR yet is projected."""
    if dirty.longest_gap is None:
        return s.settings.quiet_period
    return min(max(GAPS * dirty.longest_gap, shortest_quiet_period(s)), s.settings.quiet_period)


def may_come_early(s: Core) -> bool:
    """Return whether the settings let any study wait less than the quiet period."""
    return shortest_quiet_period(s) < s.settings.quiet_period
