"""
FHIR resources from a service to NDJSON files: by ``$export``, else by paging.

Both write into one folder, in steps that a kill does not undo; then it is read like any folder of an export.

`insights.fetch.service` alone needs no DuckDB.
"""
