"""
Which schedule notices a missing rule: the one named here is played first, for some rules show in one of hundreds.

When the code has changed and that schedule does not notice it any more, all others are played: slower, and as sure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain

SOONEST = {
    "claim before writing": 43,
    "the history holds every study ever claimed": 301,
    "rows before marks": 110,
    "the mark is read before the ledger": 72,
    "derived resources are noted before they are written": 14,
    "a result event is in the outbox before the record says so": 122,
    "an entry with the stored sequence is done again unless it is settled": 1108,
    "reading begins before the last row": 217,
    "a letter of a message goes after all that the message asks for was sent": 95,
    "a letter of a message stays while anything of the message is refused": 77,
    "a letter that was written again since it was seen is not discarded": 78,
    "an object must have been there for long when the queue was empty": 82,
    "an object is known only as it is": 110,
    "a missing event is reported as soon as its page is passed": 65,
    "a slice waits for those that it needs": 7,
    "the studies of an object are those of the row that was written last": 21,
    "of what was noted and not counted nothing is deleted": 114,
    "what the steps before deleted is taken off what may be deleted": 8,
}
"""Seeds by rule, of rules that the first few schedules do not show."""


def is_noticed(rule: str, notices: Callable[[int], object], seeds: Iterable[int]) -> bool:
    """Tell whether any of the schedules notices that the rule is missing."""
    return any(map(notices, chain([SOONEST[rule]] if rule in SOONEST else [], seeds)))


def fails(play: Callable[[], object]) -> bool:
    """Tell whether a schedule that checks itself as it goes fails."""
    try:
        play()
    except AssertionError:
        return True
    return False
