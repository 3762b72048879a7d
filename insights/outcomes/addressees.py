"""Readers and models, and what is addressed to them: values that the functions host loads too, without DuckDB."""

from __future__ import annotations

from dataclasses import dataclass

from insights.outcomes.matching import Matched


@dataclass(frozen=True, slots=True, order=True)
class Addressee:
    """
    A reader or a model, as its reports or Observations name it.

    Attributes
    ----------
    reference
        ``Practitioner/ID`` or ``Device/ID``; empty for a reader named only by an identifier.
    system, value
        Of that identifier.
    model
        ``NAME VERSION``; empty for a reader.
    """

    reference: str = ""
    system: str = ""
    value: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class Addressed:
    """A finding with its outcomes, for one addressee; a report signed by two readers gives two."""

    to: Addressee
    matched: Matched
