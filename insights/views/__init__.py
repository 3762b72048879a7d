"""
SQL on FHIR ViewDefinitions, compiled to typed DuckDB SQL.

Source: HL7 SQL on FHIR, ViewDefinition (https://sql-on-fhir.org/ig/StructureDefinition-ViewDefinition.html).
"""

from insights.views.catalogue import Catalogue, shipped_views
from insights.views.compiler import CompiledView, compile_view
from insights.views.definition import ViewDefinition, parse_view
from insights.views.reader import view_error
from insights.views.shape import Shape

__all__ = [
    "Catalogue",
    "CompiledView",
    "Shape",
    "ViewDefinition",
    "compile_view",
    "parse_view",
    "shipped_views",
    "view_error",
]
