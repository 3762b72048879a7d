"""
Compares one study's resources with what FHIR holds: what to write, and what to record of it.

The pipeline decides when; here is what. Two ways to know what FHIR holds: use the cached projection (the usual case, no
request) or read the server (after a redelivery, a conflict, a failure). Both are read before the ledger.
"""

from __future__ import annotations

from sync.projection.held import read_fhir_state
from sync.projection.upsert import write_study

__all__ = ["read_fhir_state", "write_study"]
