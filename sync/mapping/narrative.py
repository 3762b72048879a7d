"""
The text of a report: its content tree -> an XHTML narrative (R4 *Narrative*), and the conclusion.

Containers become headings, items paragraphs of name and value. All text is escaped: a report's text is never markup.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from sync.mapping.content import (
    children,
    coded_value,
    concept,
    descendants,
    is_named,
    kind,
    meaning,
    name_of,
    plain_value,
    quantity,
    relation,
    shown,
)
from sync.mapping.source import Source
from sync.mapping.values import MAX_TEXT_BYTES
from sync.model import Attributes, Resource

_CONCLUSIONS = (
    concept("DCM:121073", "DCM:121077", "LN:19005-8"),
    concept("DCM:121072", "DCM:121076", "LN:55110-1"),
)
"""Impression, Conclusion; Impressions, Conclusions: items, and the sections that hold them (PS3.16 CID 7000, 7001)."""

_XHTML = "http://www.w3.org/1999/xhtml"


def conclusions(source: Source) -> list[str]:
    """Return the texts of impressions and conclusions, each once, in the order of the file."""
    distinct: dict[str, None] = {}
    for _, item in descendants(source.attributes):
        if is_named(item, *_CONCLUSIONS):
            texts = (
                [item]
                if kind(item) == "TEXT"
                else [descendant for _, descendant in descendants(item) if kind(descendant) == "TEXT"]
            )
            distinct.update((words, None) for text in texts if (words := plain_value(text, source)))
    return list(distinct)


def conclusion_codes(source: Source) -> list[Resource]:
    """
    Return ``DiagnosticReport.conclusionCode``: a CodeableConcept of each coded impression and conclusion, each once.

    A coded conclusion is a CODE item with one of these concept names, or inside such a section (PS3.16 TID 2000, CID
    7000, 7001).
    """
    distinct: list[Resource] = []
    for _, item in descendants(source.attributes):
        if is_named(item, *_CONCLUSIONS):
            codes = [item] if kind(item) == "CODE" else [child for child in children(item) if kind(child) == "CODE"]
            coded = [coded_value(code, source) for code in codes]
            distinct += [concept for concept in coded if concept and concept not in distinct]
    return distinct


def narrative(source: Source) -> tuple[Resource | None, bool]:
    """
    Return the FHIR *Narrative* of a report's texts, codes and numbers, and whether it is complete.

    Returns
    -------
    (dict or None, bool)
        None if the report is empty. A narrative longer than FHIR allows is left out with a finding: (None, False).
    """
    body = "".join(_paragraphs(source.attributes, source))
    if not body:
        return None, True
    div = f'<div xmlns="{_XHTML}">{body}</div>'
    if len(div.encode()) > MAX_TEXT_BYTES:
        source.findings.note("TextValue", "text.too_long", "narrative left out")
        return None, False
    return {"status": "generated", "div": div}, True


def _paragraphs(holder: Attributes, source: Source) -> Iterator[str]:
    for item in children(holder):
        if relation(item) in ("HAS OBS CONTEXT", "HAS ACQ CONTEXT"):
            continue
        name, text = meaning(name_of(item, source)), _said(item, source)
        inner = "".join(_paragraphs(item, source))
        if kind(item) == "CONTAINER":
            if inner and name:
                yield f"<p><b>{_words(name)}</b></p>"
        elif text:
            yield f"<p>{_words(name)}: {_words(text)}</p>" if name else f"<p>{_words(text)}</p>"
        yield inner


def _said(item: Attributes, source: Source) -> str | None:
    match kind(item):
        case "CODE":
            return meaning(coded_value(item, source))
        case "NUM":
            measured = quantity(item, source)
            return shown(measured) if measured else None
        case "TEXT" | "DATETIME" | "DATE" | "TIME" | "PNAME":
            return plain_value(item, source)
    return None


def _words(text: str) -> str:
    return escape(text, quote=False).replace("\r\n", "\n").replace("\r", "\n").replace("\n", "<br/>")
