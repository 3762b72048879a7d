"""
Tables of the standards that are too long for code: files beside this one, each headed by its source, read when needed.

``snomed_rt.tsv`` is written by ``scripts/snomed-table`` from pydicom's dictionary. That package is not imported here:
it would load all context groups of PS3.16 at every cold start, fifty times what one lookup needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import NamedTuple


class BodyPart(NamedTuple):
    """SNOMED CT code and meaning of a defined term."""

    code: str
    meaning: str


@cache
def body_parts() -> Mapping[str, BodyPart]:
    """Return PS3.16 Annex L: defined terms of (0018,0015), in capitals -> SNOMED CT code and meaning of the region."""
    return {term: BodyPart(code, meaning) for term, code, meaning in _rows("body_parts.tsv")}


@cache
def snomed_ct_of_rt() -> Mapping[str, str]:
    """Return PS3.16 Annex D.5: retired SNOMED RT code -> SNOMED CT code."""
    return {rt: ct for rt, ct in _rows("snomed_rt.tsv")}  # noqa: C416 -- rows are lists


def _rows(name: str) -> Iterator[list[str]]:
    return (line.split("\t") for line in _lines(name))


def _lines(name: str) -> Iterator[str]:
    text = (files(__name__) / name).read_text("utf-8")
    return (line for line in text.splitlines() if not line.startswith("#"))
