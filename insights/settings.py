"""Settings of `insights`, read from the environment beside those of the sync."""

from __future__ import annotations

from pydantic import Field

from sync.config.section import Section


class InsightsSettings(Section):
    """Settings of a site for all its questions."""

    fhir_url: str = ""
    """Base URL of the FHIR R4 service; the same variable as the sync's."""

    minimum_cell: int = Field(default=11, ge=1)
    """Fewest people that a count of a cohort may show; smaller ones, and differences that are smaller, are hidden."""
