"""
Uses of synced data: flat tables of FHIR resources, and questions over them.

`insights` is installed by the extra of that name. It may use the settings and the FHIR client of `sync`; `sync` never
imports it, so nothing of it loads in the function app.
"""

__version__ = "0.1.0"
