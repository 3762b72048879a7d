"""
Names of the queues: one list for all code that creates, reads, counts, measures or draws them.

The functions, the templates, the chart and the local world use the same names; tests compare them with this list.
"""

from __future__ import annotations

OBJECTS_QUEUE = "objects"
STUDIES_QUEUE = "studies"
SLICES_QUEUE = "slices"

WORK_QUEUES = (OBJECTS_QUEUE, STUDIES_QUEUE, SLICES_QUEUE)
"""Queues whose messages functions take."""

POISON_QUEUES = (f"{OBJECTS_QUEUE}-poison", f"{STUDIES_QUEUE}-poison")
"""
Queues to which the host moves messages that failed too often.

``slices`` has none: a message that is delivered again is dropped.
"""

QUEUES = (*WORK_QUEUES, *POISON_QUEUES)
"""All of them."""

CALLS = frozenset({SLICES_QUEUE})
"""Queues whose messages only wake workers: they hold no outstanding work, which the rows of walks record."""
