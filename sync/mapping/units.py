"""
Units of measurement (PS3.16 CID 82 and 7181): vendors' spellings -> a code of UCUM, or none.

A FHIR Quantity with the system of UCUM must hold a code that UCUM has. Vendors write ``Gym2`` and ``mGycm`` for
``Gy.m2`` and ``mGy.cm`` and mistype the designator; unrecognised units are kept as text without a code.
"""

from __future__ import annotations

import re
from functools import lru_cache

_PREFIXES = ("", "Y", "Z", "E", "P", "T", "G", "M", "k", "h", "da", "d", "c", "m", "u", "n", "p", "f", "a", "z", "y")
_METRIC = (
    "A Bq C Cel F Gy H Hz J K L N Ohm Pa R S Sv T U V W Wb [iU] [IU] bar cal cd eV eq g kat l lm lx m m[Hg] mol osm "
    "rad s t"
)
_PLAIN = (
    "% ' '' 1 [Amb'a'1'U] [arb'U] [ch] [degF] [diop] [drp] [ft_i] [hnsf'U] [in_i] [lb_av] [oz_av] [pH] [ppb] [ppm] "
    "[ppth] a b d deg h min mo sr wk"
)
_SIMPLE = frozenset([prefix + atom for atom in _METRIC.split() for prefix in _PREFIXES] + _PLAIN.split())

_COMPONENT = re.compile(r"(?P<unit>(?:[^0-9+\-{}().\[\]/ ]|\[[^\]]*\])+)?(?P<rest>[+-]?[0-9]+)?(?P<note>\{[!-z|~]*\})?")
_TEN = re.compile(r"10[*^]([+-]?[0-9]+)?")

_SPELLED = {
    "": "1",
    "no units": "1",
    "ratio": "1",
    "unit": "1",
    "units": "1",
    "x-ray sources": "1",
    "frames": "1",
    "percent": "%",
    "hounsfield": "[hnsf'U]",
    "hounsfield unit": "[hnsf'U]",
    "hu": "[hnsf'U]",
    "mmhg": "mm[Hg]",
    "sec": "s",
    "msec": "ms",
    "bpm": "/min",
}
_REWRITTEN = (
    (re.compile("[µμ]"), "u"),
    (re.compile("[·*\N{MULTIPLICATION SIGN}]"), "."),
    (re.compile("²"), "2"),
    (re.compile("³"), "3"),
    (re.compile(r"^([a-zA-Z]{0,2}Gy)[ .]?([a-z]?m2?)$"), r"\1.\2"),
    (re.compile(r"^([a-z]?A) ?s$"), r"\1.s"),
    (re.compile(r"^(\{[^{}]*\})([A-Za-z]+)"), r"\2\1"),
)


@lru_cache(maxsize=1024)
def ucum_of(stated: str) -> str | None:
    """Return the UCUM code (case sensitive) of a unit; None if the unit is not recognised."""
    spelled = _SPELLED.get(stated.strip().lower())
    if spelled is not None:
        return spelled
    if is_ucum(stated):
        return stated
    for pattern, replacement in _REWRITTEN:
        stated = pattern.sub(replacement, stated.strip())
    return stated if is_ucum(stated) else None


def is_ucum(text: str) -> bool:
    """
    Return whether a text is a code of UCUM: units with prefixes, powers, products, quotients and annotations.

    Parentheses and the rarest units are not known here. Source: The Unified Code for Units of Measure, 2.1-2.4.
    """
    terms = re.split(r"[./](?![^{]*\})", text.removeprefix("/"))
    return bool(text) and all(_is_component(term) for term in terms)


def _is_component(term: str) -> bool:
    if _TEN.fullmatch(term):
        return True
    match = _COMPONENT.fullmatch(term)
    if match is None or not term:
        return False
    unit, exponent = match["unit"], match["rest"]
    if unit is None:
        return exponent is None or exponent.isdigit()
    return unit in _SIMPLE
