"""
The verdict in a few words: the title of a page and the first line of a command.

The verdict of `sync.monitoring.verdict` describes only the flow. Dead letters and drift may remain when the flow is in
sync, and a single word would hide them, so they are part of the headline until an operator has resolved them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from sync.words import counted

if TYPE_CHECKING:
    from sync.monitoring.status_model import Status

Tone = Literal["good", "warn", "bad"]

_WORDS: dict[str, tuple[str, Tone]] = {
    "in sync": ("In sync", "good"),
    "attention": ("Needs attention", "warn"),
    "behind": ("Behind", "warn"),
    "failing": ("Failing", "bad"),
}

VERDICTS = tuple(_WORDS)


def verdict_words(verdict: str) -> tuple[str, Tone]:
    """Return the verdict in words, and its tone."""
    return _WORDS[verdict]


def headline(status: Status) -> tuple[str, Tone]:
    """
    Return the headline and its tone.

    Returns
    -------
    tuple
        *In sync* and ``good`` only if there is no dead letter, no drift and no pause.
    """
    words, tone = verdict_words(status.health.verdict)
    if status.paused is not None and tone != "bad":
        words, tone = "Paused", "warn"
    left = [
        counted(number, one)
        for number, one in ((status.dead_letters, "dead letter"), (status.drift.open, "difference"))
        if number
    ]
    if not left:
        return words, tone
    joined = " and ".join(left)
    return (f"{words} except {joined}" if tone == "good" else f"{words}, {joined}"), "warn" if tone == "good" else tone
