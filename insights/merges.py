"""How far merges of patients are followed: by a cohort in its tables, and by a watch in the FHIR service."""

from __future__ import annotations

MAX_MERGES = 8
"""Maximum length of a chain of merges; people at the end of a longer chain are not counted."""
