"""
How long a study waits for its next object, from the rate at which its objects arrive.

With each mark goes the longest gap between the last objects that this process saw of the study into the dirty row. A
study of which hundreds of instances arrive a second has ended when a second passes without one; an acquisition with an
image every second may only pause. No rule depends on it, only the number of FHIR writes and the delay: of many
processes each sees some of the objects, hence longer gaps, and the study waits longer, up to the quiet period.
"""

from __future__ import annotations

from sync.model import DirtyStudy
from sync.ports import Core

GAPS = 5
"""A study waits for this many times its longest gap. By default, a gap as long as the shortest quiet period makes it
wait the whole quiet period."""


def shortest_quiet_period(s: Core) -> float:
    """Return the seconds that a study waits at least: the setting, unless the quiet period itself is shorter."""
    return min(s.settings.shortest_quiet_period_seconds, s.settings.quiet_period)


def quiet_period(dirty: DirtyStudy, s: Core) -> float:
    """Return the seconds without an object after which a study is projected that is not in FHIR yet."""
    if dirty.longest_gap is None:
        return s.settings.quiet_period
    return min(max(GAPS * dirty.longest_gap, shortest_quiet_period(s)), s.settings.quiet_period)


def may_come_early(s: Core) -> bool:
    """Whether the settings let any study wait less than the quiet period."""
    return shortest_quiet_period(s) < s.settings.quiet_period
