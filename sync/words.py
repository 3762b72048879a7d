"""Numbers with their nouns, in singular or plural: the one place for English plurals."""

from __future__ import annotations

from collections.abc import Mapping

_BOTH = frozenset({"series"})
"""Nouns that are the same for one and for many."""


def noun_of(number: float, one: str, many: str = "") -> str:
    """Return the noun that a number needs: singular or plural; ``many`` where it is not ``one`` with an s."""
    return one if number == 1 else many or f"{one}s"


def counted(number: float, one: str, many: str = "") -> str:
    """Write a number with its noun in singular or plural."""
    return f"{number:,} {noun_of(number, one, many)}"


def tallied(counts: Mapping[str, float]) -> str:
    """Write counts that are named in the plural, as JSON has them; *rejected*, which is no noun, stays."""
    named = ((number, name.replace("_", " ")) for name, number in counts.items())
    return ", ".join(counted(number, _singular(name), name) for number, name in named)


def _singular(many: str) -> str:
    if many in _BOTH or not many.endswith("s"):
        return many
    return f"{many[:-3]}y" if many.endswith("ies") else many[:-1]
