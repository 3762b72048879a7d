"""
The queues by name: one list for all that create, read, count, measure or draw them.

Functions, templates, the chart and a local world name the same; tests hold them to this list.
"""

from __future__ import annotations

OBJECTS_QUEUE = "objects"
STUDIES_QUEUE = "studies"
SLICES_QUEUE = "slices"

WORK_QUEUES = (OBJECTS_QUEUE, STUDIES_QUEUE, SLICES_QUEUE)
"""Queues whose messages functions take."""

POISON_QUEUES = (f"{OBJECTS_QUEUE}-poison", f"{STUDIES_QUEUE}-poison")
"""
Queues to which the host moves what failed too often.

``slices`` has none: a message that is delivered again is dropped.
"""

QUEUES = (*WORK_QUEUES, *POISON_QUEUES)
"""All of them."""

CALLS = frozenset({SLICES_QUEUE})
"""Queues whose messages only wake workers: they hold no outstanding work, which the rows of walks record."""
