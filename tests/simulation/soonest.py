"""
Which schedule notices a missing rule: the one named here is played first, for some rules show in one of hundreds.

When the code has changed and that schedule does not notice it any more, all others are played: slower, and as sure. A
warning then says which one does.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable

SOONEST = {
    "claim before writing": 43,
    "the history holds every study ever claimed": 301,
    "the highest sequence is claimed before anything is written": 48,
    "an older entry counts where claims overlapped": 14_473,
    "of more orphans than may be deleted none is": 1,
    "the trail of a retry comes first": 5,
    "a letter is discarded only as it was read": 15,
    "rows before marks": 110,
    "the mark is read before the ledger": 72,
    "derived resources are noted before they are written": 33,
    "a result event is in the outbox before the record says so": 122,
    "an entry with the stored sequence is done again unless it is settled": 1108,
    "reading begins before the last row": 217,
    "a letter of a message goes after all that the message asks for was sent": 95,
    "a letter of a message stays while anything of the message is refused": 77,
    "a letter that was written again since it was seen is not discarded": 78,
    "an object must have been there for long when the queue was empty": 82,
    "an object is known only as it is": 110,
    "a missing event is reported as soon as its page is passed": 65,
    "the studies of an object are those of the row that was written last": 95,
    "of what was noted and not counted nothing is deleted": 19,
    "what the steps before deleted is taken off what may be deleted": 1,
}
"""Seeds by rule, of rules that the first few schedules do not show."""


def is_noticed(rule: str, notices: Callable[[int], object], seeds: Iterable[int]) -> bool:
    """Tell whether any of the schedules notices that the rule is missing."""
    if rule not in SOONEST:
        return any(map(notices, seeds))
    if notices(SOONEST[rule]):
        return True
    seed = next(filter(notices, seeds), None)
    if seed is not None:
        warnings.warn(f"{rule!r} is noticed by schedule {seed}, not by {SOONEST[rule]}: name it", stacklevel=2)
    return seed is not None


def fails(play: Callable[[], object]) -> bool:
    """Tell whether a schedule that checks itself as it goes fails."""
    try:
        play()
    except AssertionError:
        return True
    return False
