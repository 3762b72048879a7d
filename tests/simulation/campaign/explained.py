"""Mutants that no test has to kill, and why: what they change is no rule."""

from __future__ import annotations

EXPLAINED: dict[str, str] = {}
"""By ``Mutation.key``."""
