"""
Downloads FHIR resources from a service to NDJSON files: by ``$export``, else by paging.

Both write into one folder, in steps that a kill does not undo; the folder is then read like any export.

Importing only `insights.fetch.service` needs no DuckDB.
"""
