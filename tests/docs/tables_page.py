"""Writes docs/tables.md from the shipped views: ``python -m tests.docs.tables_page``."""

from pathlib import Path

from insights.views import Catalogue, shipped_views

PAGE = Path(__file__).parents[2] / "docs" / "tables.md"

_TEXT = """\
# Tables

`python -m sync collect` flattens FHIR resources into these tables; [cohorts](cohorts.md) and your own SQL queries read
them. Each is defined by a [SQL on FHIR](https://sql-on-fhir.org) ViewDefinition in `insights/views/shipped/`, so
another engine can build the same tables.

Dates are text, as written in FHIR: `2024-03` means an unknown day in March 2024. Codes, systems and ids are text; NULL
means that the element is absent. Ids are FHIR ids: `condition.patient_id = patient.id` joins. A reference to another
server is stored in full and joins with no row.

This page is generated from the views: `.venv/bin/python -m tests.docs.tables_page`.

{contents}

{tables}
"""


def page() -> str:
    """Return the page."""
    compiled = Catalogue.shipped().views
    views = shipped_views()
    contents = "\n".join(
        ["| table | one row |", "|---|---|", *(f"| [{v.name}](#{v.name}) | {v.description} |" for v in views)]
    )
    tables = "\n\n".join(_table(view, compiled[view.name]) for view in views)
    return _TEXT.format(contents=contents, tables=tables)


def _table(view, compiled) -> str:
    rows = [f"| `{c.name}` | {c.sql_type} | {c.type} | {c.description} |" for c in compiled.columns]
    head = [f"## {view.name}", "", f"{view.title}, from FHIR `{view.resource}`. {view.description}", ""]
    return "\n".join([*head, "| column | SQL | FHIR | |", "|---|---|---|---|", *rows])


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
