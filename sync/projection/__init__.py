"""
Compares one study's resources with those in FHIR, writes the difference and records it.

The pipeline decides when to write, this package what to write. FHIR's state is known from the cached projection (the
usual case, no request) or read from the server (after a redelivery, a conflict, a failure). Either is read before the
ledger.
"""

from __future__ import annotations

from sync.projection.held import read_fhir_state
from sync.projection.upsert import write_study

__all__ = ["read_fhir_state", "write_study"]
