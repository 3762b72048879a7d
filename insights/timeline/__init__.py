"""
One patient over time, read live from a FHIR service, in lanes: problems, medication, studies, reports and others.

It needs only the packages of the sync itself, not DuckDB.
"""
