"""Writes docs/mapping.md from the table of the mapping: ``python -m tests.docs.mapping_page``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sync.dicom.attributes import CONTENT, EXTRACTED_OF_DOCUMENTS, IDENTITY, walk
from sync.dicom.detail import rows_in_detail
from tests.docs.mapping_table import CONTENT_ITEM, DETAIL, DOCUMENT, INSTANCE, MACROS, PATIENT, SERIES, STUDY, Row

PAGE = Path(__file__).parents[2] / "docs" / "mapping.md"
TEXT = Path(__file__).with_name("mapping_page.md")

_TAGS = {
    row.keyword: row.tag for row in walk((*IDENTITY, *EXTRACTED_OF_DOCUMENTS, CONTENT, *rows_in_detail("", "full")))
}


def page() -> str:
    """Return the page: its text with the tables in their places."""
    places = {
        "PATIENT": PATIENT,
        "STUDY": STUDY,
        "SERIES": SERIES,
        "INSTANCE": INSTANCE,
        "DOCUMENT": DOCUMENT,
        "CONTENT_ITEM": CONTENT_ITEM,
        **{f"DETAIL_{level.upper()}": rows for level, rows in DETAIL.items()},
    }
    text = TEXT.read_text("utf-8")
    for name, rows in places.items():
        text = text.replace(f"{{{name}}}", table(rows))
    return text.replace("{MACROS}", "\n\n".join(_macro(macro.title, macro.sequences, macro.rows) for macro in MACROS))


def _macro(title: str, sequences: Iterable[str], rows: Iterable[Row]) -> str:
    named = ", ".join(f"{_tag(sequence)} {sequence}" for sequence in sequences)
    return f"### {title}\n\nItems of {named}.\n\n{table(rows)}"


def table(rows: Iterable[Row]) -> str:
    """Return rows as a Markdown table."""
    lines = ["| tag | attribute | FHIR | rule |", "|---|---|---|---|"]
    for row in rows:
        fhir = ", ".join(f"`{path}`" for path in row.fhir) or "-"
        lines.append(f"| {_tag(row.keyword)} | {row.keyword} | {fhir} | {row.rule} |")
    return "\n".join(lines)


def _tag(keyword: str) -> str:
    tag = f"{_TAGS[keyword]:08X}"
    return f"({tag[:4]},{tag[4:]})"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
