"""
One patient over time, read live from a FHIR service: lanes of problems, procedures, medication and imaging.

It needs only the packages of the sync itself, not DuckDB.
"""
